"""When a process that ended by itself is started again, and when no more: arithmetic only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retry:
    """Start it again after `delay` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Leave it crashed; `reason` says why, and what starts it again."""

    reason: str


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How often and how fast a crashed process is restarted. All times are seconds.

    Restarts are counted from the last time the process was healthy for `reset_after` without a
    break: "it came up" is not enough, else one that dies a minute after each start would be
    restarted for ever. The first restart waits `delay`, each one after it twice as long, up to
    `max_delay` (or `delay`, when that is longer). Restarts that a person asks for are not counted.
    """

    auto_restart: bool = True
    max_restarts: int = 10
    delay: float = 1.0
    max_delay: float = 60.0
    reset_after: float = 600.0

    def decide(self, restarts: int) -> Retry | GiveUp:
        """Say what to do about a crash after `restarts` restarts in a row."""
        if not self.auto_restart:
            return GiveUp("auto_restart is off; `restart` starts it again")
        if restarts >= self.max_restarts:
            times = "once" if restarts == 1 else f"{restarts} times"
            return GiveUp(f"restarted {times} without staying healthy; `restart` starts it again")
        return Retry(self._delay_after(restarts))

    def forgives(self, healthy_for: float) -> bool:
        """Say whether so many seconds of good health make earlier crashes not count."""
        return healthy_for >= self.reset_after

    def _delay_after(self, restarts: int) -> float:
        doubled: float = self.delay * 2 ** min(restarts, 32)  # bounded: no float overflow
        return min(doubled, max(self.max_delay, self.delay))
