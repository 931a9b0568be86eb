"""A way to the two services: through one of the proxies, or straight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.usage import family, workers

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"
#: The paths below which the proxies offer the services: the ids of our formations.
STATIC = "/api/bench-static"
LIVE = "/api/bench-live"


class Missing(Exception):
    """This peer can't be measured here; the message says why."""


@dataclass(frozen=True, slots=True)
class Door:
    """A port of this machine, and what comes before a service's own paths there."""

    port: int
    prefix: str = ""

    def path(self, own: str) -> str:
        return self.prefix + own

    def url(self, own: str) -> str:
        return f"http://{HOST}:{self.port}{self.prefix}{own}"


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy that runs, or none (`pid` is None). `alone`: its children are not part of it."""

    name: str
    static: Door
    live: Door
    pid: int | None = None
    alone: bool = False

    @property
    def pids(self) -> list[int]:
        """Name its processes."""
        if self.pid is None:
            return []
        return [self.pid, *workers(self.pid)] if self.alone else family(self.pid)


@dataclass(frozen=True, slots=True)
class Site:
    """What a proxy is started with: the services' ports, where it may write, and run."""

    static_port: int
    live_port: int
    directory: Path
    cores: frozenset[int]
    descriptors: int
    workers: int = 1


def through(name: str, port: int, pid: int, *, alone: bool = False) -> Peer:
    """Make the peer whose proxy listens on that port."""
    return Peer(name, Door(port, STATIC), Door(port, LIVE), pid, alone)
