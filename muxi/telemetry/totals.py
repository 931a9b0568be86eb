"""What has happened since the server's start, by name, and what of that has not been reported yet. Pure.

Numbers only grow: a report has what was added since the last one that got through. So nothing is
ever reset, and what is counted while a report is on its way belongs to the next one.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Numbers: TypeAlias = "Mapping[str, float]"

USAGE: Final = "usage."
"""Before the name of a route of the management API: how often it was called."""


class Totals:
    """Counts events by name; takes numbers that others count from `sources`, which must be quick."""

    def __init__(self, *sources: Callable[[], Numbers]) -> None:
        self._sources = sources
        self._counted: Counter[str] = Counter()

    def add(self, name: str, number: float = 1) -> None:
        """Count, on the event loop."""
        self._counted[name] += number  # type: ignore[assignment]  # a Counter may hold floats

    def now(self) -> Numbers:
        """Give all numbers as they are."""
        found: dict[str, float] = dict(self._counted)
        for source in self._sources:
            found.update(source())
        return found


def added(now: Numbers, before: Numbers) -> Numbers:
    """Give what was added to each number."""
    return {name: value - before.get(name, 0) for name, value in now.items()}
