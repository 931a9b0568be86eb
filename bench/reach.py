"""What we want to reach, as the project's plan states it, and whether we do. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.figures import Metric

if TYPE_CHECKING:
    from bench.figures import Figures

OURS = "muxi"
GO = "go"
NGINX = "nginx"

Verdict = Literal["reached", "not reached", "no figure"]


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit on one of our figures, or on its ratio to a peer's (`against`)."""

    row: str
    key: str
    relation: Literal["at least", "at most"]
    limit: float
    against: str | None = None
    strictly: bool = False

    def measured(self, figures: Figures) -> float | None:
        """Give the figure that the limit is for, None if it was not measured."""
        if self.against is None:
            return figures.value(self.row, OURS, Metric(self.key, "", combine=max))
        return figures.ratio(self.row, OURS, self.against, self.key)

    def verdict(self, figures: Figures) -> Verdict:
        """Say whether the limit is kept."""
        found = self.measured(figures)
        if found is None:
            return "no figure"
        if found == self.limit:
            return "not reached" if self.strictly else "reached"
        above = found > self.limit
        return "reached" if above == (self.relation == "at least") else "not reached"

    def __str__(self) -> str:
        beside = f" times {self.against}'s" if self.against else ""
        relation = "below" if self.strictly else self.relation
        return f"{self.row}: {self.key} {relation} {self.limit:g}{beside}"


def goals() -> tuple[Goal, ...]:
    """List all goals."""
    return (*_requests(), *_streams(), *_bulk(), Goal("beside bulk", "factor", "at most", 3.0))


def _requests() -> tuple[Goal, ...]:
    return tuple(
        goal
        for connections, times in ((1, 1.0), (32, 1.5), (128, 1.5))
        for row in (f"requests c={connections}",)
        for goal in (
            Goal(row, "rate", "at least", times, GO),
            Goal(row, "p99", "at most", 1.0, GO),
            Goal(row, "rate", "at least", 0.35, NGINX),
        )
    )


def _streams() -> tuple[Goal, ...]:
    return tuple(
        goal
        for count in (1_000, 5_000, 10_000)
        for row in (f"streams {count}",)
        for goal in (
            Goal(row, "memory", "at most", 0.125, GO),
            Goal(row, "memory", "at most", 1.0, NGINX, strictly=True),
            Goal(row, "p99", "at most", 1.2, GO),
        )
    )


def _bulk() -> tuple[Goal, ...]:
    return tuple(
        goal
        for direction in ("download", "upload")
        for framing in ("length", "chunked")
        for row in (f"{direction} {framing}",)
        for goal in (Goal(row, "speed", "at least", 1.0, GO), Goal(row, "growth", "at most", 10.0))
    )
