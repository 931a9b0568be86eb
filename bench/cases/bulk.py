"""Large bodies, each way, with their length given and in chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.figures import Metric
from bench.load import bulk, single
from bench.usage import forget_peak, peak_resident, resident

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bench.figures import Sample
    from bench.peers.peer import Peer
    from bench.plan import Plan

MEGABYTE = 1e6
#: Each moves so many bytes and gives the seconds it took.
MOVES: Mapping[str, Callable[[Peer, int], float]] = {
    "download length": lambda peer, _: bulk.download(peer.static, "/large"),
    "download chunked": lambda peer, _: bulk.download(peer.live, "/bulk"),
    "upload length": lambda peer, size: bulk.upload(peer.live, "/sink", size, chunked=False),
    "upload chunked": lambda peer, size: bulk.upload(peer.live, "/sink", size, chunked=True),
}


class Bulk:
    """One body after the other, each over one connection.

    Memory as the most it has been since the process was new, over what it was then: so what the
    first body makes it keep is not hidden from the later ones.
    """

    name = "bulk"
    about = "one large body over one connection, with its length given and in chunks"
    metrics: tuple[Metric, ...] = (
        Metric("speed", "MB/s"),
        Metric("growth", "memory growth since start, MB", 1, combine=max),
    )
    fresh = True

    def measure(self, peer: Peer, plan: Plan) -> Iterator[tuple[str, Sample]]:
        single.run(peer.static, requests=1)
        pids = peer.pids
        forget_peak(pids)
        before = resident(pids)
        for row, move in MOVES.items():
            speed = plan.bulk / move(peer, plan.bulk) / MEGABYTE
            growth = {"growth": (peak_resident(pids) - before) / MEGABYTE} if pids else {}
            yield row, {"speed": speed, **growth}
