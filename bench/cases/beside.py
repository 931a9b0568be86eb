"""Whether large transfers keep small requests waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.figures import Metric
from bench.load import wrk
from bench.load.bulk import flood

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.figures import Sample
    from bench.peers.peer import Peer
    from bench.plan import Plan

CONNECTIONS = 8


class Beside:
    """Small requests alone, then beside an upload and a download at full speed."""

    name = "beside"
    about = "200 bytes of JSON, 8 connections, alone and beside an upload and a download at full speed"
    metrics: tuple[Metric, ...] = (
        Metric("quiet", "p99 alone, µs"),
        Metric("busy", "p99 beside, µs"),
        Metric("factor", "beside ÷ alone", 1),
        Metric("rate", "requests/s beside"),
        Metric("speed", "MB/s moved"),
    )
    fresh = False

    def measure(self, peer: Peer, plan: Plan) -> Iterator[tuple[str, Sample]]:
        quiet = wrk.run(peer.static, connections=CONNECTIONS, seconds=plan.seconds)
        with flood(peer.live) as moved:
            busy = wrk.run(peer.static, connections=CONNECTIONS, seconds=plan.seconds)
            speed = sum(moved.values()) / plan.seconds / 1e6
        sample = {
            "quiet": quiet["p99"],
            "busy": busy["p99"],
            "factor": busy["p99"] / max(quiet["p99"], 1.0),
            "rate": busy["rate"],
            "speed": speed,
        }
        yield "beside bulk", sample
