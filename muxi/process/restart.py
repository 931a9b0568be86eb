"""When a process that failed is started again, how soon, and when more slowly: arithmetic only.

Failures are counted in a sliding window, and forgotten after a long time of good health; "it came
up" is not enough, else one that dies a minute after each start would be restarted at full speed
for ever. Each restart waits longer than the one before. One that fails more often than allowed is
in a *crash loop*: it is still tried, but slowly, until it has been healthy for long or a person
restarts it. So nothing is given up because of an hour without network.

No clock and no randomness in here: the caller says what time it is, in seconds on a clock that
only goes forward, and how the dice fell.
"""

from __future__ import annotations

from dataclasses import dataclass

JITTER = 0.2
"""How much longer than computed a pause may get, as a share of it."""


@dataclass(frozen=True, slots=True)
class Failures:
    """What is remembered of one instance's failures: when they were, and whether they are a loop."""

    at: tuple[float, ...] = ()
    crash_loop: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """Start it again after `delay` seconds; `reason` says why that is so slow, if it is."""

    delay: float
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Leave it crashed; `reason` says why, and what starts it again."""

    reason: str


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How often and how fast a failed process is restarted. All times are seconds.

    The first restart waits `delay`, each one after it twice as long, up to `max_delay` (or `delay`,
    when that is longer). More than `max_restarts` failures within `window` are a crash loop: then
    one try every `loop_interval`. `reset_after` of good health without a break make all of it
    forgotten. Restarts that a person asks for are not counted.
    """

    auto_restart: bool = True
    max_restarts: int = 10
    delay: float = 1.0
    max_delay: float = 60.0
    window: float = 1800.0
    reset_after: float = 600.0
    loop_interval: float = 300.0

    def count(self, failures: Failures, now: float) -> Failures:
        """Add a failure that happened now; those that the window has left behind count no more."""
        recent = [at for at in failures.at if at > now - self.window]
        kept = (*recent, now)[-(self.max_restarts + 1) :]
        return Failures(kept, failures.crash_loop or len(kept) > self.max_restarts)

    def forgives(self, healthy_for: float) -> bool:
        """Say whether so many seconds of good health make earlier failures not count."""
        return healthy_for >= self.reset_after

    def decide(self, failures: Failures, spread: float) -> Retry | GiveUp:
        """Say what to do after the latest of these failures; `spread` is random, from 0 to 1.

        It makes the pause up to a fifth longer, so that those who failed together, because of the
        same cause, don't all come back in the same moment.
        """
        if not self.auto_restart:
            return GiveUp("auto_restart is off; `restart` starts it again")
        longer = 1 + JITTER * spread
        if failures.crash_loop:
            return Retry(self.loop_interval * longer, self._loop(len(failures.at)))
        return Retry(self._delay_after(len(failures.at) - 1) * longer)

    def _delay_after(self, earlier: int) -> float:
        doubled: float = self.delay * 2 ** min(max(earlier, 0), 32)  # bounded: no float overflow
        return min(doubled, max(self.max_delay, self.delay))

    def _loop(self, count: int) -> str:
        times = "once" if count == 1 else f"{count} times"
        return f"failed {times} without staying healthy, so it is tried slowly; `restart` tries at once"
