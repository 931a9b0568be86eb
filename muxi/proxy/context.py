"""What all connections of one listener share."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.proxy.connection import Connection
    from muxi.proxy.deadlines import Clock
    from muxi.proxy.handover import Handover
    from muxi.proxy.hangup import Hangups
    from muxi.proxy.limits import Limits
    from muxi.proxy.upstream import Upstreams
    from muxi.registry.routes import RouteTable


class Served(NamedTuple):
    """One proxied request, for an access log or a counter. `seconds` runs from head to last byte."""

    formation_id: str
    method: bytes
    target: bytes
    status: int
    seconds: float
    peer: str
    request_id: bytes


@dataclass(slots=True)
class Tally:
    """Counts since start, for the status page."""

    connections: int = 0
    requests: int = 0
    retries: int = 0
    upstream_failures: int = 0
    contained: int = 0
    expired: int = 0


@dataclass(slots=True, eq=False)
class Context:
    """The shared parts, the open connections, and whether the listener is closing down."""

    routes: RouteTable
    upstreams: Upstreams
    handover: Handover
    clock: Clock
    hangups: Hangups
    limits: Limits
    version: bytes
    trusts: Callable[[str], bool]
    on_request: Callable[[Served], None] | None = None
    connections: set[Connection] = field(default_factory=set)
    draining: bool = False
    #: Set when the last connection has ended.
    emptied: trio.Event = field(default_factory=trio.Event)
    tally: Tally = field(default_factory=Tally)
    #: Distinguishes this process's request ids from any other's; the count does the rest.
    run_id: bytes = field(default_factory=lambda: secrets.token_hex(6).encode())
    serial: itertools.count[int] = field(default_factory=itertools.count)

    def new_request_id(self) -> bytes:
        """Make an id that no other request has: the run, then a count."""
        return b"%b-%x" % (self.run_id, next(self.serial))
