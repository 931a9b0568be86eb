"""What is counted of a formation's requests: plain numbers that the proxy adds to, and a snapshot.

The hot path pays for an addition or two and for one look into a histogram; everything that can be
worked out later is worked out when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

#: Upper bounds in seconds, five to the tenfold and less where it is long; above the last: the rest.
BOUNDS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0,
    60.0, 150.0, 300.0, 900.0, 3600.0,
)  # fmt: skip


class Histogram:
    """Durations by size. `counts[i]` are those up to `BOUNDS[i]`, the last one those above all."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def snapshot(self) -> Distribution:
        """Copy what has been counted."""
        return Distribution(tuple(self.counts), self.total)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram at one moment: `counts` by `BOUNDS`, and the sum of all durations in seconds."""

    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile(self, share: float) -> float | None:
        """Give the bound below which that share lies; None without any, the last bound at most."""
        wanted, seen = share * self.count, 0
        for bound, count in zip(BOUNDS, self.counts, strict=False):
            seen += count
            if seen and seen >= wanted:
                return bound
        return BOUNDS[-1] if self.count else None


@dataclass(frozen=True, slots=True)
class Answers:
    """What many requests came to. `timed` had a first byte, after `seconds` in all."""

    total: int = 0
    errors_4xx: int = 0
    errors_5xx: int = 0
    timed: int = 0
    seconds: float = 0.0

    def plus(self, traffic: Traffic) -> Answers:
        """Add those of a formation."""
        return Answers(
            self.total + sum(traffic.statuses),
            self.errors_4xx + traffic.statuses[4],
            self.errors_5xx + traffic.statuses[5],
            self.timed + sum(traffic.first_byte.counts),
            self.seconds + traffic.first_byte.total,
        )


class Traffic:
    """Counts of one formation since its route was made; written on the event loop only.

    `statuses[n]` counts the responses with status n hundred and something; at 0 are those that had
    none, for the client left before. `streams` and `tunnels` are the ones open now; the bytes are
    those of bodies and tunnels. `refused` counts what was over a limit, `rate_limited` excepted, and
    `cancelled` those whose client left before the end.
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "cancelled",
        "connect_errors",
        "first_byte",
        "first_event",
        "held",
        "holding",
        "in_flight",
        "rate_limited",
        "refused",
        "retries",
        "statuses",
        "stream_seconds",
        "streams",
        "tunnels",
        "upstream_failures",
    )

    def __init__(self) -> None:
        self.statuses = [0] * 6
        self.bytes_in = 0
        self.bytes_out = 0
        self.in_flight = 0
        self.streams = 0
        self.tunnels = 0
        self.holding = 0
        self.held = 0
        self.retries = 0
        self.cancelled = 0
        self.connect_errors = 0
        self.upstream_failures = 0
        self.rate_limited = 0
        self.refused = 0
        self.first_byte = Histogram()
        self.first_event = Histogram()
        self.stream_seconds = Histogram()

    def snapshot(self) -> TrafficView:
        """Copy what has been counted."""
        statuses = self.statuses
        return TrafficView(
            requests=sum(statuses),
            by_status={f"{n}xx": statuses[n] for n in range(1, 6)},
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            in_flight=self.in_flight,
            streams=self.streams,
            tunnels=self.tunnels,
            holding=self.holding,
            held=self.held,
            retries=self.retries,
            cancelled=self.cancelled,
            connect_errors=self.connect_errors,
            upstream_failures=self.upstream_failures,
            rate_limited=self.rate_limited,
            refused=self.refused,
            first_byte=self.first_byte.snapshot(),
            first_event=self.first_event.snapshot(),
            stream_seconds=self.stream_seconds.snapshot(),
        )


@dataclass(frozen=True, slots=True)
class TrafficView:
    """`Traffic` at one moment. `requests` are those that have ended, `by_status` as in `2xx`."""

    requests: int
    by_status: dict[str, int]
    bytes_in: int
    bytes_out: int
    in_flight: int
    streams: int
    tunnels: int
    holding: int
    held: int
    retries: int
    cancelled: int
    connect_errors: int
    upstream_failures: int
    rate_limited: int
    refused: int
    first_byte: Distribution
    first_event: Distribution
    stream_seconds: Distribution
