"""No proxy: what the services and the load can do by themselves."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.peers.peer import Door, Peer, Site

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def start(site: Site) -> Iterator[Peer]:
    yield Peer("direct", Door(site.static_port), Door(site.live_port))
