"""How far a download is: counted for each piece, told a few times a second."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL = 0.3
"""Seconds between two reports, at least."""
WINDOW = 5.0
"""Seconds over which the rate is an average."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` bytes are here (None: nobody has said how many); `rate` is bytes a second."""

    url: str
    done: int
    total: int | None
    rate: float

    @property
    def percent(self) -> int | None:
        """Return whole percents, None where the total is not known."""
        return None if not self.total else min(100 * self.done // self.total, 100)


def ignore(progress: Progress) -> None:
    """Be the report of what nobody watches."""


class Meter:
    """Counts one download, and reports it no more often than is of use."""

    def __init__(self, url: str, report: Callable[[Progress], None], clock: Callable[[], float]) -> None:
        self._url = url
        self._report = report
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()
        self._told = float("-inf")

    def begin(self, done: int, total: int | None) -> None:
        """Say where a piece begins: what was there before has no rate."""
        self._samples.clear()
        self._tell(done, total)

    def count(self, done: int, total: int | None) -> None:
        if self._clock() - self._told >= INTERVAL:
            self._tell(done, total)

    def end(self, done: int) -> None:
        """Report the last state, whenever the one before was reported."""
        self._tell(done, done)

    def _tell(self, done: int, total: int | None) -> None:
        now = self._clock()
        self._told = now
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[0][0] > WINDOW:
            self._samples.popleft()
        then, before = self._samples[0]
        rate = (done - before) / (now - then) if now > then else 0.0
        self._report(Progress(self._url, done, total, rate))
