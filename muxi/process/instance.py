"""One process kept running until told to stop."""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING

import structlog
import trio

from muxi.errors import FormationFailed, InternalError, MuxiError
from muxi.process import failure, ports, probe
from muxi.process.lifecycle import SPAWNED, Event, State, advance
from muxi.process.restart import GiveUp
from muxi.process.spawn import spawn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muxi.process.handle import Handle
    from muxi.process.identity import Identity
    from muxi.process.probe import ProbeResult
    from muxi.process.restart import RestartPolicy
    from muxi.process.spec import ExitReport, HealthCheck, ProcessSpec

PORT_TIMEOUT = 5.0
"""Seconds to wait for the port to be free: before each spawn, and after a stop."""


class Instance:
    """Keeps one ProcessSpec running: spawn, probe, watch, restart by policy, until told to stop.

    Made anew for each start; `run` is called once, as a task, and everything happens in it. The
    attributes may be read at any time, and `on_change` is called after each change of state.

    state           as clients know it (a StrEnum: compares and serialises as its word)
    reason          why it is in this state, in words, where that is not plain
    since           when it came into this state; this and all other times are Unix seconds
    next_try_at     when a crashed one is started again; None when it will not be
    pid, started_at, identity   of the present process, None without one
    restart_count   automatic restarts so far, never reset: the policy's own count is another
    last_exit, last_probe       how the process before ended; what the latest check saw
    healthy         None while no check has told
    port_free       False when somebody still listened on the port after it was stopped
    """

    def __init__(
        self,
        spec: ProcessSpec,
        policy: RestartPolicy,
        *,
        on_change: Callable[[Instance], None],
        on_attempt: Callable[[int, int, str], None] | None = None,
        restart_count: int = 0,
        launch: Callable[[ProcessSpec], Awaitable[Handle]] = spawn,
        check: Callable[[str, int, HealthCheck], Awaitable[ProbeResult]] = probe.check,
    ) -> None:
        """Prepare; nothing is started.

        `on_attempt(n, most, detail)` reports each check of a starting process. `launch` and
        `check` are how a process is had and asked.
        """
        self.spec = spec
        self.policy = policy
        self.state = State.STOPPED
        self.reason: str | None = None
        self.since = time.time()
        self.next_try_at: float | None = None
        self.restart_count = restart_count
        self.last_exit: ExitReport | None = None
        self.last_probe: ProbeResult | None = None
        self.healthy: bool | None = None
        self.port_free = True
        self._on_change = on_change
        self._on_attempt = on_attempt
        self._launch = launch
        self._check = check
        self._handle: Handle | None = None
        self._failure: MuxiError | None = None  # why the latest process, or try, ended
        self._failures = 0
        self._was_healthy = False  # at any time since `run` began
        self._restarts_in_a_row = 0
        self._healthy_since: float | None = None  # on trio's clock, without a break
        self._parked = False
        self._until_stop = trio.CancelScope()
        self._grace = trio.CancelScope()
        self._changed = trio.Event()
        self._ended = trio.Event()
        self._log = structlog.get_logger().bind(process=spec.process_id)

    @property
    def pid(self) -> int | None:
        return None if self._handle is None else self._handle.pid

    @property
    def started_at(self) -> float | None:
        return None if self._handle is None else self._handle.started_at

    @property
    def identity(self) -> Identity | None:
        return None if self._handle is None else self._handle.identity

    async def run(
        self,
        *,
        restart_on_failed_start: bool,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep it running; return when it was stopped or given up. Raises only Cancelled.

        Without `restart_on_failed_start` it is given up when it ends, or is not healthy in time,
        before it was healthy for the first time. When this task is cancelled, the process and
        all its descendants are killed at once, in bounded time.
        """
        task_status.started()
        try:
            with self._until_stop:
                await self._keep(restart_on_failed_start=restart_on_failed_start)
            if self._until_stop.cancelled_caught:
                await self._end_as_asked()
        except Exception as error:  # noqa: BLE001 - a defect of ours is this formation's failure alone
            self._log.exception("supervision_failed")
            self._fail_ourselves(error)
        finally:
            with trio.CancelScope(shield=True):
                await self._leave_nothing()
            self._ended.set()
            self._tell()

    async def wait_healthy(self) -> None:
        """Return once it is running.

        Raises as soon as the present try has failed, with why: FormationFailed, or what `spawn`
        raises. It goes on being restarted by policy, if it is. Also raises when it is stopped.
        """
        failures = self._failures
        while self.state is not State.RUNNING:
            if self._failure is not None and (self.state is State.CRASHED or self._failures > failures):
                raise self._failure
            if self._ended.is_set():
                raise FormationFailed(
                    "Formation was stopped before it was healthy.", code="Stopped", stage=failure.STAGE
                )
            await self._changed.wait()

    async def stop(self) -> None:
        """End it: TERM to its group, `stop_timeout` seconds, KILL; wait until its port is free.

        Returns when all that is done, or was done before. One that had crashed for good is
        `stopped` then, too. Cancelling the caller does not take the order back. Raises
        OperatorError when the process can't be killed; then it stays `crashed`.
        """
        self._until_stop.cancel()
        if self.state is not State.STOPPED:
            await self._ended.wait()
        if self._handle is not None and self._failure is not None:
            raise self._failure
        if self.state is State.CRASHED:
            self._move(Event.STOP)
            self._move(Event.STOPPED)

    async def kill(self) -> None:
        """End it as `stop` does, but without the grace; also cuts short a stop under way."""
        self._grace.cancel()
        await self.stop()

    async def _keep(self, *, restart_on_failed_start: bool) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()  # stopped before it began
        self._move(Event.START)
        while True:
            await self._live_once()
            if not (self._was_healthy or restart_on_failed_start):
                return self._park(None)
            decision = self.policy.decide(self._restarts_in_a_row)
            if isinstance(decision, GiveUp):
                return self._park(decision.reason)
            self.next_try_at = time.time() + decision.delay
            self._tell()
            await trio.sleep(decision.delay)
            self._restarts_in_a_row += 1
            self.restart_count += 1
            self._move(Event.RETRY, self.reason)

    async def _live_once(self) -> None:
        """Spawn and watch one process; when it has ended, or could not be had, be `crashed`."""
        try:
            await self._expect_port_free()
            handle = self._handle = await self._launch(self.spec)
        except MuxiError as error:
            self._crash(Event.FAILED, error, error.message)
            return
        self._tell()
        ended_itself = await self._attend(handle)
        came_up = self.healthy is not None
        self._count_health()
        report = await self._bury(handle, expected=not ended_itself)
        lines = await handle.log_tail()
        if not ended_itself:
            late = failure.timed_out(self.spec.health.startup_timeout, report, self.last_probe, lines)
            self._crash(Event.FAILED, late, late.message)
        else:
            tell = failure.died if came_up else failure.crashed
            self._crash(Event.EXITED, tell(report, self.last_probe, lines), report.describe())

    async def _expect_port_free(self) -> None:
        if await ports.wait_free(self.spec.host, self.spec.port, PORT_TIMEOUT):
            return
        raise FormationFailed(
            f"Port {self.spec.port} is in use by another program.",
            code="SpawnError",
            stage="spawning",
            cure="End that program, or choose another `formations.port_range`.",
        )

    async def _attend(self, handle: Handle) -> bool:
        """Probe the process until it ends (True) or has not come up in time (False)."""
        ended_itself = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_checking, nursery.cancel_scope)
            await handle.wait()
            ended_itself = True
            nursery.cancel_scope.cancel()
        return ended_itself

    async def _keep_checking(self, watch: trio.CancelScope) -> None:
        if not await self._start_up():
            watch.cancel()
            return
        health, failed = self.spec.health, 0
        while True:
            await trio.sleep(health.period if failed < health.unhealthy_threshold else health.interval)
            self.last_probe = await self._check(self.spec.host, self.spec.port, health)
            failed = 0 if self.last_probe.healthy else failed + 1
            if self.last_probe.healthy and self.state is State.UNHEALTHY:
                self._be_healthy()
            elif failed == health.unhealthy_threshold:
                self._be_unhealthy(self.last_probe)

    async def _start_up(self) -> bool:
        health = self.spec.health
        most = probe.most_attempts(health)
        with trio.move_on_after(health.startup_timeout):
            for attempt in count(1):
                await trio.sleep(probe.pause_before(attempt, health))
                self.last_probe = await self._check(self.spec.host, self.spec.port, health)
                if self._on_attempt is not None:
                    self._on_attempt(attempt, most, self.last_probe.detail)
                if self.last_probe.healthy:
                    self._be_healthy()
                    return True
        return False

    def _be_healthy(self) -> None:
        self.healthy, self._was_healthy = True, True
        self._healthy_since = trio.current_time()
        self._move(Event.HEALTHY)

    def _be_unhealthy(self, seen: ProbeResult) -> None:
        self.healthy = False
        self._count_health()
        self._move(Event.UNHEALTHY, seen.detail)

    def _count_health(self) -> None:
        """End a stretch of good health, if there was one; a long one forgives earlier crashes."""
        since, self._healthy_since = self._healthy_since, None
        if since is not None and self.policy.forgives(trio.current_time() - since):
            self._restarts_in_a_row = 0

    async def _bury(self, handle: Handle, *, expected: bool) -> ExitReport:
        self.last_exit = await handle.end(expected=expected)
        self._handle = self.healthy = None
        return self.last_exit

    def _crash(self, event: Event, error: MuxiError, reason: str) -> None:
        self._failure = error
        self._failures += 1
        self._move(event, reason)

    def _park(self, reason: str | None) -> None:
        self._parked = True
        self._move(Event.PARKED, "; ".join(filter(None, (self.reason, reason))))

    async def _end_as_asked(self) -> None:
        if self.state is State.STOPPED or self._parked:
            return
        self._move(Event.STOP)
        if self._handle is not None:
            self._grace.deadline = trio.current_time() + self.spec.stop_timeout
            with self._grace:
                await self._handle.ask_to_end()
            await self._bury(self._handle, expected=True)
        await self._see_port_free()
        self._move(Event.STOPPED, self.reason)

    async def _see_port_free(self) -> None:
        self.port_free = await ports.wait_free(self.spec.host, self.spec.port, PORT_TIMEOUT)
        if not self.port_free:
            self.reason = f"stopped, but another program listens on port {self.spec.port}"
            self._log.warning("port_still_taken", port=self.spec.port)

    def _fail_ourselves(self, error: Exception) -> None:
        """Be `crashed` for good, whatever state we were in."""
        ours = error if isinstance(error, MuxiError) else None
        why = ours or InternalError("The server failed while it supervised this; its log has the details.")
        if self.state in SPAWNED or self.state is State.STOPPING:
            self._crash(Event.FAILED, why, why.message)
        if self.state is State.CRASHED and not self._parked:
            self._park("`restart` starts it again")

    async def _leave_nothing(self) -> None:
        """Kill what is left when we were cancelled, or have failed. Takes bounded time."""
        if self.state in SPAWNED or (self.state is State.CRASHED and not self._parked):
            self._move(Event.STOP)
        if self._handle is not None:
            try:
                await self._bury(self._handle, expected=True)
            except MuxiError as error:
                self._log.error("process_left_behind", pid=self.pid, error=error.message)
                self._fail_ourselves(error)
        if self.state is State.STOPPING:
            self._move(Event.STOPPED)

    def _move(self, event: Event, reason: str | None = None) -> None:
        before, self.state = self.state, advance(self.state, event)
        self.reason, self.since, self.next_try_at = reason, time.time(), None
        self._log.info("process_state", state=str(self.state), was=str(before), reason=reason, pid=self.pid)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
        try:
            self._on_change(self)
        except Exception:  # noqa: BLE001 - theirs, and no reason to lose the process
            self._log.exception("on_change_failed")
