"""All that one process is asked from its start to its end, and what that says of it.

The pauses between checks vary a little, by chance, so that hundreds of processes which were
started together are not all asked in the same moment for ever.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import count
from typing import TYPE_CHECKING

import structlog
import trio

from muxi.process import probe
from muxi.process.pulse import Activity, Pulse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from muxi.process.handle import Handle
    from muxi.process.probe import ProbeResult
    from muxi.process.spec import ProcessSpec

    Check = Callable[[str, int, Sequence[str], float], Awaitable[ProbeResult]]

log = structlog.get_logger()

JITTER = 0.1
"""How far a pause may be off its length either way, as a share of it."""


class Verdict(StrEnum):
    """Why a process is to be ended."""

    LATE = "late"  # not healthy within its budget
    HUNG = "hung"  # no sign of life
    PORT_LOST = "port lost"  # somebody else listens on its port


class Checks:
    """Asks one process. `last` is what was seen last, `silent_for` how long a hung one was, in seconds."""

    def __init__(
        self,
        handle: Handle,
        spec: ProcessSpec,
        *,
        check: Check,
        spread: Callable[[], float],
        activity: Callable[[], Activity],
        on_attempt: Callable[[int, int, str], None] | None,
    ) -> None:
        """Prepare. `spread` is random from 0 to 1; `on_attempt` is told of each check of the start."""
        self.last: ProbeResult | None = None
        self._handle = handle
        self._spec = spec
        self._health = spec.health
        self._check = check
        self._spread = spread
        self._activity = activity
        self._on_attempt = on_attempt
        self.silent_for = 0.0

    async def start_up(self) -> Verdict | None:
        """Return None once it is healthy and the listener is its own, else why it will not be."""
        health = self._health.start_up
        most = probe.most_attempts(health)
        with trio.move_on_after(health.budget):
            for attempt in count(1):
                await trio.sleep(probe.pause_before(attempt, health))
                self.last = await self._check(self._spec.host, self._spec.port, health.paths, health.timeout)
                if self._on_attempt is not None:
                    self._on_attempt(attempt, most, self.last.detail)
                if self.last.healthy:
                    return None if await self._has_listener() else Verdict.PORT_LOST
        return Verdict.LATE

    async def keep_watch(self, on_ready: Callable[[bool], None], *, ready: bool) -> Verdict:
        """Tell of each change of readiness, which is now `ready`; return when it is to be ended."""
        pulse = Pulse(self._health.liveness)
        verdict = Verdict.HUNG
        async with trio.open_nursery() as nursery:
            if self._health.liveness.paths:
                nursery.start_soon(self._keep_asking_life, pulse, nursery.cancel_scope)
            verdict = await self._keep_asking(pulse, on_ready, ready=ready)
            nursery.cancel_scope.cancel()
        return verdict

    async def _keep_asking(self, pulse: Pulse, on_ready: Callable[[bool], None], *, ready: bool) -> Verdict:
        health = self._health.readiness
        failed = 0 if ready else health.threshold
        while True:
            ready = failed < health.threshold
            await self._pause(health.interval if ready else self._health.start_up.interval)
            self.last = await self._check(self._spec.host, self._spec.port, health.paths, health.timeout)
            if not self._health.liveness.paths and await self._is_hung(pulse, alive=self.last.answered):
                return Verdict.HUNG
            failed = 0 if self.last.healthy else failed + 1
            if not failed and not ready:
                if not await self._has_listener():
                    return Verdict.PORT_LOST
                on_ready(True)
            elif failed == health.threshold:
                on_ready(False)

    async def _keep_asking_life(self, pulse: Pulse, scope: trio.CancelScope) -> None:
        health = self._health.liveness
        while True:
            await self._pause(health.interval)
            seen = await self._check(self._spec.host, self._spec.port, health.paths, health.timeout)
            if await self._is_hung(pulse, alive=seen.healthy):
                self.last = seen
                scope.cancel()
                return

    async def _is_hung(self, pulse: Pulse, *, alive: bool) -> bool:
        if alive:
            pulse.alive()
            return False
        activity = self._activity()
        cpu = await self._handle.cpu_seconds() if activity.busy else 0.0
        now = trio.current_time()
        hung = pulse.silent(now, activity, cpu)
        self.silent_for = pulse.silent_for(now)
        return hung

    async def _has_listener(self) -> bool:
        """Say whether what listens on the port is the process's own, as far as that can be told."""
        owned = await self._handle.listens(self._spec.host, self._spec.port)
        if owned is None:
            log.info("listener_not_proved", process=self._spec.process_id, port=self._spec.port)
        return owned is not False

    async def _pause(self, seconds: float) -> None:
        await trio.sleep(seconds * (1 + JITTER * (2 * self._spread() - 1)))
