"""Whether a process that does not answer lives all the same: arithmetic only."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from muxi.process.health import Liveness

LEAST_CPU = 0.01
"""The share of a processor that counts as life: a hung program's housekeeping uses less."""


class Activity(NamedTuple):
    """What the proxy has to do with a process: `busy` with requests, and the bytes moved so far."""

    busy: bool = False
    moved: int = 0


class Pulse:
    """Takes each answer, or its absence, with the other signs of life; says when it is hung."""

    def __init__(self, settings: Liveness) -> None:
        self._settings = settings
        self._failed = 0
        self._failing_since = 0.0
        self._still_since = 0.0
        self._moved = 0
        self._cpu = 0.0

    @property
    def failing(self) -> bool:
        """Whether the latest check saw no life."""
        return self._failed > 0

    def silent_for(self, now: float) -> float:
        """Return the seconds since the first of the checks that failed in a row."""
        return now - self._failing_since if self._failed else 0.0

    def alive(self) -> None:
        """Take note of an answer."""
        self._failed = 0

    def silent(self, now: float, activity: Activity, cpu: float) -> bool:
        """Take note of a check without an answer; say whether the process is to be ended.

        `now` is seconds on a clock that only goes forward, `cpu` the CPU seconds that the process
        and its descendants have used so far; it matters only while they are busy.
        """
        self._failed += 1
        if self._failed == 1:
            self._failing_since = self._still_since = now
            self._moved, self._cpu = activity.moved, cpu
        elif self._moved_on(now, activity, cpu):
            self._still_since = now
            self._moved, self._cpu = activity.moved, cpu
        if not self._settings.threshold or self._failed < self._settings.threshold:
            return False
        return not activity.busy or now - self._still_since >= self._settings.grace

    def _moved_on(self, now: float, activity: Activity, cpu: float) -> bool:
        worked = cpu - self._cpu
        return activity.moved != self._moved or worked > LEAST_CPU * (now - self._still_since)
