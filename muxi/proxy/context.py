"""What all connections of one listener share."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from muxi.proxy.stats import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.proxy.admission import Doorman
    from muxi.proxy.comments import EventBody
    from muxi.proxy.connection import Connection
    from muxi.proxy.deadlines import Clock
    from muxi.proxy.limits import Limits
    from muxi.proxy.others import Others
    from muxi.proxy.poller import Poller
    from muxi.proxy.upstream import Upstreams
    from muxi.registry.routes import RouteTable


#: An odd number: multiples of it, modulo 2^64, are all different and look like chance.
SCATTER: Final = 0x9E3779B97F4A7C15
MASK: Final = (1 << 64) - 1


class Served(NamedTuple):
    """One proxied request, for an access log or a counter. `seconds` runs from head to last byte."""

    formation_id: str
    method: bytes
    target: bytes
    status: int
    seconds: float
    peer: str
    request_id: bytes


@dataclass(slots=True, eq=False)
class Context:
    """The shared parts, the open connections, and whether the listener is closing down."""

    routes: RouteTable
    upstreams: Upstreams
    handover: Others
    clock: Clock
    poller: Poller
    limits: Limits
    version: bytes
    trusts: Callable[[str], bool]
    doorman: Doorman
    on_request: Callable[[Served], None] | None = None
    #: Tells the newest release of an SDK, by its name and the version that asks; None: nothing is told.
    latest: Callable[[bytes, bytes], bytes | None] | None = None
    #: Whether connections of trusted peers begin with a header of the PROXY protocol.
    proxy_protocol: bool = False
    #: How many processes proxy: each has an equal share of what limits all.
    processes: int = 1
    #: How many clients are connected. In `connections` each of their HTTP/2 streams has one of its own.
    clients: int = 0
    connections: set[Connection] = field(default_factory=set)
    #: Event streams that get a comment when they are quiet for too long.
    commented: set[EventBody] = field(default_factory=set)
    #: Whether each connection ends with the answer to its next request.
    draining: bool = False
    #: Whether the listener has stopped accepting, and waits for the last of them.
    closing: bool = False
    #: Set when the last connection has ended.
    emptied: trio.Event = field(default_factory=trio.Event)
    tally: Tally = field(default_factory=Tally)
    #: Distinguishes this process's request ids from any other's; the count does the rest.
    run_id: bytes = field(default_factory=lambda: secrets.token_hex(8).encode())
    serial: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def new_request_id(self) -> bytes:
        """Make an id that no other request has, of 32 hexadecimal digits: also a trace is named by it.

        The run, then a count that is scattered, since tracers sample by an id's last digits.
        """
        return b"%b%016x" % (self.run_id, next(self.serial) * SCATTER & MASK)
