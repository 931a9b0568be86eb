"""How much is measured: rounds, seconds, sizes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """The full plan takes a quarter of an hour, the quick one two minutes at most. Sizes in bytes."""

    rounds: int = 5
    #: Of one run of requests against one peer. wrk knows whole seconds only.
    seconds: int = 2
    #: Of watching event streams, at each of their counts.
    stream_seconds: float = 1.5
    streams: tuple[int, ...] = (1_000, 5_000, 10_000)
    single_requests: int = 3_000
    bulk: int = 1 << 30
    websockets: int = 200


FULL = Plan()
QUICK = Plan(
    rounds=1,
    seconds=1,
    stream_seconds=1.5,
    streams=(1_000,),
    single_requests=1_000,
    bulk=128 << 20,
)
