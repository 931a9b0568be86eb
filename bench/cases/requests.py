"""Small requests, many at once; and one connection for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cases.case import spending
from bench.figures import Metric
from bench.load import wrk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.figures import Sample
    from bench.peers.peer import Peer
    from bench.plan import Plan

METRICS: tuple[Metric, ...] = (
    Metric("rate", "requests/s"),
    Metric("p50", "p50 µs"),
    Metric("p99", "p99 µs"),
    Metric("cpu", "CPU µs/request", 1),
)


class Requests:
    """A document of 200 bytes over so many kept connections."""

    metrics: tuple[Metric, ...] = METRICS
    fresh = False
    name = "requests"
    about = "200 bytes of JSON over so many kept connections (c), with ten changing header fields"

    def __init__(self, connections: int) -> None:
        self._connections = connections

    def measure(self, peer: Peer, plan: Plan) -> Iterator[tuple[str, Sample]]:
        with spending(peer) as spent:
            found = wrk.run(peer.static, connections=self._connections, seconds=plan.seconds)
        yield f"requests c={self._connections}", {**found, "cpu": spent.each(found["count"])}


class ConnectionPerRequest:
    """The same document, a new connection for each request."""

    name = "connection-per-request"
    about = "200 bytes of JSON, 32 at once, a new connection for each request"
    metrics: tuple[Metric, ...] = METRICS
    fresh = False

    def measure(self, peer: Peer, plan: Plan) -> Iterator[tuple[str, Sample]]:
        with spending(peer) as spent:
            found = wrk.run(peer.static, connections=32, seconds=plan.seconds, close=True)
        yield self.name, {**found, "cpu": spent.each(found["count"])}
