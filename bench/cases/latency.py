"""What a proxy adds to the time of a single request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.figures import Metric
from bench.load import single

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.figures import Sample
    from bench.peers.peer import Peer
    from bench.plan import Plan


class Latency:
    """One connection, one request after the other, by blocking calls."""

    name = "latency"
    about = "200 bytes of JSON, one request after the other on one connection"
    metrics: tuple[Metric, ...] = (
        Metric("p50", "p50 µs", 1, added=True),
        Metric("p99", "p99 µs", 1, added=True),
    )
    fresh = False

    def measure(self, peer: Peer, plan: Plan) -> Iterator[tuple[str, Sample]]:
        yield self.name, single.run(peer.static, plan.single_requests)
