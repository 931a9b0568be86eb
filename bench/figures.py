"""What was measured, and what is made of it: percentiles, medians over the rounds, ratios. Pure."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Sample = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Metric:
    """A column: the key of its value in a sample, its heading, and the digits after the point.

    `combine` makes one value of those of all rounds. With `added`, a second column says by how
    much it exceeds the value without a proxy in the same round.
    """

    key: str
    title: str
    digits: int = 0
    combine: Callable[[Sequence[float]], float] = statistics.median
    added: bool = False


@dataclass(slots=True)
class Figures:
    """The samples of every row and peer by round; by case and peer, why some are missing."""

    samples: dict[tuple[str, str], dict[int, Sample]] = field(default_factory=dict)
    missing: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, row: str, peer: str, turn: int, sample: Sample) -> None:
        """Note a sample of the round `turn`."""
        self.samples.setdefault((row, peer), {})[turn] = sample

    def excuse(self, case: str, peer: str, reason: str) -> None:
        """Note why a peer has no sample, or fewer than the others."""
        self.missing[case, peer] = reason

    def value(self, row: str, peer: str, metric: Metric) -> float | None:
        """Combine a metric's values of all rounds; None if there are none."""
        values = [sample[metric.key] for sample in self._rounds(row, peer).values() if metric.key in sample]
        return metric.combine(values) if values else None

    def ratio(self, row: str, peer: str, other: str, key: str) -> float | None:
        """Divide the peers' values round by round; the median. A noisy minute hits both alike."""
        pairs = self._pairs(row, peer, other, key)
        ratios = [mine / theirs for mine, theirs in pairs if theirs]
        return statistics.median(ratios) if ratios else None

    def difference(self, row: str, peer: str, other: str, key: str) -> float | None:
        """Subtract the other's value round by round; the median."""
        differences = [mine - theirs for mine, theirs in self._pairs(row, peer, other, key)]
        return statistics.median(differences) if differences else None

    def lacking(self, row: str, peer: str) -> bool:
        """Tell whether a peer has no sample for this row, or fewer than another one."""
        most = max((len(rounds) for (other, _), rounds in self.samples.items() if other == row), default=1)
        return len(self._rounds(row, peer)) < most

    def rows(self) -> list[str]:
        """Name the rows that have samples, in the order in which they came."""
        return list(dict.fromkeys(row for row, _ in self.samples))

    def _rounds(self, row: str, peer: str) -> Mapping[int, Sample]:
        return self.samples.get((row, peer), {})

    def _pairs(self, row: str, peer: str, other: str, key: str) -> Iterator[tuple[float, float]]:
        mine, theirs = self._rounds(row, peer), self._rounds(row, other)
        for turn in mine.keys() & theirs.keys():
            if key in mine[turn] and key in theirs[turn]:
                yield mine[turn][key], theirs[turn][key]


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value that `share` (0 to 1) of them do not exceed, by nearest rank. Needs a value."""
    ordered = sorted(values)
    rank = math.ceil(share * len(ordered))
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def tail(values: Sequence[float], prefix: str = "") -> dict[str, float]:
    """Give the `p50` and `p99` of a sample."""
    return {f"{prefix}p50": percentile(values, 0.5), f"{prefix}p99": percentile(values, 0.99)}
