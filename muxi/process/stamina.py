"""How well an instance has kept up so far, and what its policy makes of its next failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from muxi.process.restart import Failures

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.process.restart import GiveUp, RestartPolicy, Retry


class Stamina:
    """Keeps the time for the restart policy, which knows none: trio's clock, from event to event."""

    def __init__(self, policy: RestartPolicy, spread: Callable[[], float]) -> None:
        self._policy = policy
        self._spread = spread
        self._failures = Failures()
        self._healthy_since: float | None = None

    @property
    def crash_loop(self) -> bool:
        """Whether it failed again and again, and has not been healthy for long since."""
        return self._failures.crash_loop and not self._forgiven()

    def healthy(self) -> None:
        """Begin a stretch of good health."""
        self._healthy_since = trio.current_time()

    def not_healthy(self) -> None:
        """End it, if there was one; a long one forgives earlier failures."""
        if self._forgiven():
            self._failures = Failures()
        self._healthy_since = None

    def failed(self) -> None:
        self.not_healthy()
        self._failures = self._policy.count(self._failures, trio.current_time())

    def decide(self) -> Retry | GiveUp:
        """Say what to do about the latest failure."""
        return self._policy.decide(self._failures, self._spread())

    def _forgiven(self) -> bool:
        since = self._healthy_since
        return since is not None and self._policy.forgives(trio.current_time() - since)
