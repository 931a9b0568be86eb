"""What this program gets from the one whose place it took, or from the service manager.

A program that takes another's place by `exec` stays in the same process: it has the same pid,
children and open descriptors. Which of those are for it is in `MUXI_HANDOVER`. A service manager
that opened the sockets says so in LISTEN_FDS, as sd_listen_fds(3) has it. Both are believed only
with our own pid in them, and taken out of the environment, so that no child takes them for its own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from muxi.errors import OperatorError
from muxi.proxy.sockets import adopt_listener, open_listeners

if TYPE_CHECKING:
    import socket
    from collections.abc import MutableMapping, Sequence

    from muxi.config.model import Config
    from muxi.server.history import History

log = structlog.get_logger()

HANDOVER: Final = "MUXI_HANDOVER"
LISTEN: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
FIRST_FD: Final = 3


class Handover(msgspec.Struct, kw_only=True, frozen=True):
    """What one program leaves to the next. `host` and `port` are what the sockets were opened for.

    `generation` counts the programs of this process, `first_started_at` (Unix time) is the first
    one's start, `serial` counts the requests by signal that have been answered.
    """

    pid: int
    sockets: tuple[int, ...]
    lock: int
    host: str
    port: int
    activated: bool
    generation: int
    first_started_at: float
    serial: int


@dataclass(slots=True)
class Inheritance:
    """The handover, if there is one, and the descriptors to listen on."""

    handover: Handover | None = None
    fds: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    #: Whether the service manager opened the sockets, so that the configuration does not say where.
    activated: bool = False
    #: The host and port for which the sockets that `listen` returned were opened.
    address: tuple[str, int] = ("", 0)

    @property
    def lock(self) -> int | None:
        return None if self.handover is None else self.handover.lock

    def listen(self, config: Config) -> list[socket.socket]:
        """Return the sockets to serve on: those passed to us, else newly opened ones.

        When the configuration names another address than the program before us had, that is
        opened; if it can't be, the old one is served on, for that is better than none. Raises
        OperatorError.
        """
        self.address = config.server.host, config.server.port
        if not self.fds:
            return open_listeners(*self.address)
        inherited = [adopt_listener(fd) for fd in self.fds]
        handover = self.handover
        if self.activated or handover is None or (handover.host, handover.port) == self.address:
            return inherited
        try:
            sockets = open_listeners(*self.address)
        except OperatorError as error:
            self.address = handover.host, handover.port
            log.error("the new address can't be opened, the old one stays", error=error.message)
            return inherited
        for sock in inherited:
            sock.close()
        return sockets

    def pass_on(self, sockets: Sequence[socket.socket], lock: int, history: History) -> Handover:
        """Return what the program after this one is to get."""
        host, port = self.address
        return Handover(
            pid=os.getpid(),
            sockets=tuple(sock.fileno() for sock in sockets),
            lock=lock,
            host=host,
            port=port,
            activated=self.activated,
            generation=history.generation,
            first_started_at=history.first_started_at or history.started_at,
            serial=history.serial,
        )


def inherit(environment: MutableMapping[str, str]) -> Inheritance:
    """Take what is for us out of the environment."""
    left = environment.pop(HANDOVER, "")
    given = {name: environment.pop(name, "") for name in LISTEN}
    handover = _handover(left)
    if handover is not None:
        return Inheritance(handover, handover.sockets, activated=handover.activated)
    count = given["LISTEN_FDS"]
    if given["LISTEN_PID"] != str(os.getpid()) or not count.isdecimal() or count == "0":
        return Inheritance()
    fds = tuple(range(FIRST_FD, FIRST_FD + int(count)))
    names = tuple(given["LISTEN_FDNAMES"].split(":")) if given["LISTEN_FDNAMES"] else ()
    return Inheritance(None, fds, names, activated=True)


def _handover(left: str) -> Handover | None:
    if not left:
        return None
    try:
        found = msgspec.json.decode(left, type=Handover)
    except msgspec.MsgspecError as error:
        log.warning("what the program before this one left can't be read", error=str(error))
        return None
    return found if found.pid == os.getpid() else None
