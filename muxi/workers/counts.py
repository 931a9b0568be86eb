"""What has been counted, as plain numbers that can be subtracted, sent and added. Pure.

A worker sends what has been added since it last did; the main process adds it to its own. The
first of a formation's numbers are those that go down again: what a worker that dies leaves of
them is taken back.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Final

from muxi.proxy.stats import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muxi.registry.traffic import Histogram, Traffic
    from muxi.workers.messages import Number

GAUGES: Final = ("in_flight", "streams", "tunnels", "holding")
COUNTERS: Final = (
    "bytes_in",
    "bytes_out",
    "held",
    "retries",
    "cancelled",
    "connect_errors",
    "upstream_failures",
    "rate_limited",
    "refused",
)
HISTOGRAMS: Final = ("first_byte", "first_event", "stream_seconds")
SINGLE: Final = GAUGES + COUNTERS
TALLY: Final = tuple(field.name for field in fields(Tally))


def traffic_numbers(traffic: Traffic) -> tuple[Number, ...]:
    """Give all numbers of a formation's traffic, in one order."""
    found: list[Number] = [getattr(traffic, name) for name in SINGLE]
    found += traffic.statuses
    for name in HISTOGRAMS:
        histogram: Histogram = getattr(traffic, name)
        found += histogram.counts
        found.append(histogram.total)
    return tuple(found)


def add_traffic(traffic: Traffic, added: Sequence[Number]) -> None:
    """Add numbers in that order to a formation's traffic."""
    rest = iter(added)
    for name in SINGLE:
        setattr(traffic, name, getattr(traffic, name) + next(rest))
    for index in range(len(traffic.statuses)):
        traffic.statuses[index] += int(next(rest))
    for name in HISTOGRAMS:
        histogram: Histogram = getattr(traffic, name)
        for index in range(len(histogram.counts)):
            histogram.counts[index] += int(next(rest))
        histogram.total += next(rest)


def take_back(traffic: Traffic, gauges: Sequence[Number]) -> None:
    """Subtract what a worker has under way that is no more; nothing, where nothing was told."""
    for name, value in zip(GAUGES, gauges, strict=bool(gauges)):
        setattr(traffic, name, getattr(traffic, name) - value)


def tally_numbers(tally: Tally) -> tuple[int, ...]:
    """Give all numbers of a tally."""
    return tuple(getattr(tally, name) for name in TALLY)


def add_tally(tally: Tally, added: Sequence[int]) -> None:
    """Add numbers in that order to a tally."""
    for name, value in zip(TALLY, added, strict=True):
        setattr(tally, name, getattr(tally, name) + value)


def tally_added(now: Sequence[int], before: Sequence[int]) -> tuple[int, ...]:
    """Give what has been added to a tally; nothing, where that is nothing."""
    added = tuple(new - old for new, old in zip(now, before, strict=True))
    return added if any(added) else ()


def difference(now: Sequence[Number], before: Sequence[Number] | None) -> tuple[Number, ...]:
    """Give what has been added; to nothing, where nothing was before."""
    if before is None:
        return tuple(now)
    return tuple(new - old for new, old in zip(now, before, strict=True))


def total(one: Sequence[Number], other: Sequence[Number]) -> tuple[Number, ...]:
    """Add number by number."""
    return tuple(a + b for a, b in zip(one, other, strict=True))
