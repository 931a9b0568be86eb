"""Quiet event streams: what holding them takes, and how late their events are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cases.case import spending
from bench.children import BenchError
from bench.figures import Metric, tail
from bench.load import single
from bench.load.streams import Crowd
from bench.usage import resident

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.figures import Sample
    from bench.peers.peer import Peer
    from bench.plan import Plan


class Streams:
    """Ever more streams with one event a second each, spread over the second; first none, to compare with."""

    name = "streams"
    about = "event streams with one event a second each"
    metrics: tuple[Metric, ...] = (
        Metric("streams", "streams"),
        Metric("p50", "delay p50 µs"),
        Metric("p99", "delay p99 µs"),
        Metric("memory", "kB/stream", 1),
        Metric("cpu", "CPU µs/event", 1),
    )
    fresh = True

    def __init__(self, most: int) -> None:
        self._most = most

    def measure(self, peer: Peer, plan: Plan) -> Iterator[tuple[str, Sample]]:
        single.run(peer.static, requests=1)
        before = resident(peer.pids)
        crowd = Crowd(peer.live)
        try:
            for count in plan.streams:
                yield f"streams {count}", self._watch(peer, plan, crowd, count, before)
        finally:
            crowd.close()

    def _watch(self, peer: Peer, plan: Plan, crowd: Crowd, wanted: int, before: int) -> Sample:
        count = min(wanted, self._most)
        crowd.grow(count)
        with spending(peer) as spent:
            delays = crowd.watch(plan.stream_seconds)
        if not delays:
            raise BenchError("no event came")
        sample = {"streams": float(count), **tail(delays)}
        if peer.pid is not None:
            sample["cpu"] = spent.each(len(delays))
            sample["memory"] = (resident(peer.pids) - before) / count / 1024
        return sample
