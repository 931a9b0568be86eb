"""Everything that runs while something is measured: our server, the services in it, the peers."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.children import BenchError, pinned
from bench.peers import caddy, direct, go, haproxy, muxi, nginx
from bench.peers.peer import Missing, Peer, Site

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.machine import Cores

STARTERS = {
    "direct": direct.start,
    "go": go.start,
    "nginx": nginx.start,
    "haproxy": haproxy.start,
    "caddy": caddy.start,
}
#: In the order in which they are shown.
PEERS = ("direct", "muxi", *tuple(STARTERS)[1:])


@dataclass(slots=True)
class Stage:
    """The peers that run, and why the others don't."""

    peers: list[Peer] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


@contextmanager
def stage(
    names: Sequence[str], *, directory: Path, cores: Cores, descriptors: int, bulk: int, workers: int = 1
) -> Iterator[Stage]:
    """Start everything anew, and end it with the block. Raises BenchError, Missing (no services)."""
    with ExitStack() as running:
        running.enter_context(pinned(cores.load))
        room = Path(running.enter_context(tempfile.TemporaryDirectory(dir=directory)))
        ours = running.enter_context(muxi.start(muxi.Site(room, cores.proxy, cores.load, bulk, workers)))
        site = Site(ours.static_port, ours.live_port, room, cores.proxy, descriptors, workers)
        ready = Stage()
        for name in names:
            if name == "muxi":
                ready.peers.append(ours.peer)
                continue
            try:
                ready.peers.append(running.enter_context(STARTERS[name](site)))
            except (Missing, BenchError) as error:
                ready.missing[name] = str(error)
        yield ready
