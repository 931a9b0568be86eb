"""WebSockets that echo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cases.case import Unsupported, spending
from bench.children import BenchError
from bench.figures import Metric
from bench.load import websockets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.figures import Sample
    from bench.peers.peer import Peer
    from bench.plan import Plan


class WebSockets:
    """200 of them, each with one message under way."""

    name = "websockets"
    about = "200 WebSockets, each sends 64 bytes when the last 64 have come back"
    metrics: tuple[Metric, ...] = (
        Metric("rate", "echoes/s"),
        Metric("p50", "p50 µs"),
        Metric("p99", "p99 µs"),
        Metric("cpu", "CPU µs/echo", 1),
    )
    fresh = False

    def measure(self, peer: Peer, plan: Plan) -> Iterator[tuple[str, Sample]]:
        try:
            with spending(peer) as spent:
                found = websockets.run(peer.live, count=plan.websockets, seconds=plan.seconds)
        except BenchError as error:
            if " 501 " in str(error):
                raise Unsupported("not supported") from error
            raise
        yield self.name, {**found, "cpu": spent.each(found["count"])}
