"""How often something may happen: a token bucket. Pure; the caller says what time it is."""

from __future__ import annotations

import math


class TokenBucket:
    """Fills with `rate` tokens a second up to `burst`; whoever finds one takes it.

    A burst of 0 is that of one second, and at least one.
    """

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: int = 0) -> None:
        self._rate = rate
        self._burst = float(burst or max(1, math.ceil(rate)))
        self._tokens = self._burst
        self._at = -math.inf

    def take(self, now: float) -> float:
        """Take a token: 0.0 if there was one, else the seconds until there will be one.

        `now` is in seconds on any clock; one that goes back gives nothing and takes nothing.
        """
        if now > self._at:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._rate
