"""Looking after one process until it ends, or has to be ended, and saying why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from muxi.process import failure
from muxi.process.checks import Checks, Verdict
from muxi.process.lifecycle import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.errors import FormationFailed
    from muxi.process.checks import Check
    from muxi.process.handle import Handle
    from muxi.process.probe import ProbeResult
    from muxi.process.pulse import Activity
    from muxi.process.spec import ExitReport, ProcessSpec


class Attendance:
    """One process under one specification; its arguments are those of `Checks`."""

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
        self._handle = handle
        self._spec = spec
        self._checks = Checks(
            handle, spec, check=check, spread=spread, activity=activity, on_attempt=on_attempt
        )

    @property
    def last_probe(self) -> ProbeResult | None:
        return self._checks.last

    async def attend(self, on_ready: Callable[[bool], None], *, ready: bool | None) -> Verdict | None:
        """Ask until it ends by itself (None), or is to be ended. Tells of each change of readiness.

        `ready` says what it is now; None: it has to come up first.
        """
        verdict = None

        async def ask() -> None:
            nonlocal verdict
            verdict = await self._ask(on_ready, ready)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await self._handle.wait()
            nursery.cancel_scope.cancel()
        return verdict

    async def explain(
        self, verdict: Verdict | None, report: ExitReport, *, came_up: bool
    ) -> tuple[Event, FormationFailed, str]:
        """Return what its end means: the event, the error for who waits for it, and the reason to show."""
        lines = await self._handle.log_tail()
        if verdict is None:
            tell = failure.died if came_up else failure.crashed
            return Event.EXITED, tell(report, self.last_probe, lines), report.describe()
        if verdict is Verdict.HUNG:
            error = failure.hung(self._checks.silent_for, report, self.last_probe, lines)
        elif verdict is Verdict.PORT_LOST:
            error = failure.port_taken(self._spec.port)
        else:
            error = failure.timed_out(self._spec.health.start_up.budget, report, self.last_probe, lines)
        return Event.FAILED, error, error.message

    async def _ask(self, on_ready: Callable[[bool], None], ready: bool | None) -> Verdict:
        if ready is None:
            verdict = await self._checks.start_up()
            if verdict is not None:
                return verdict
            on_ready(True)
        return await self._checks.keep_watch(on_ready, ready=ready is not False)
