"""One process kept running until told to stop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from muxi.errors import FormationFailed, InternalError, MuxiError
from muxi.process import failure
from muxi.process.checks import Verdict
from muxi.process.lifecycle import SPAWNED, Event, State
from muxi.process.means import Means
from muxi.process.restart import GiveUp
from muxi.process.stamina import Stamina
from muxi.process.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.process.attendance import Attendance
    from muxi.process.handle import Handle
    from muxi.process.identity import Identity
    from muxi.process.probe import ProbeResult
    from muxi.process.restart import RestartPolicy
    from muxi.process.spec import ExitReport, ProcessSpec
    from muxi.process.usage import Usage

MOST_MOVES = 3
"""How many ports one start may lose to others before it counts as failed."""


class Instance(Standing):
    """Keeps one ProcessSpec running: spawn, probe, watch, restart by policy, until told to stop.

    Made anew for each start; `run` is called once, as a task, and everything happens in it. The
    attributes, those of `Standing` among them, may be read at any time, and `on_change` is called
    after each change of state.

    crash_loop      whether it fails again and again, and is therefore tried slowly
    pid, started_at, identity, container_id, usage, adopted
                    of the present process, see `Handle`; None, "" and False without one
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
        means: Means | None = None,
        restart_count: int = 0,
    ) -> None:
        """Prepare; nothing is started."""
        super().__init__(spec.process_id, lambda: on_change(self))
        self.spec = spec
        self.restart_count = restart_count
        self.last_exit: ExitReport | None = None
        self.healthy: bool | None = None
        self.port_free = True
        self._means = means or Means()
        self._stamina = Stamina(policy, self._means.spread)
        self._handle: Handle | None = None
        self._attendance: Attendance | None = None
        self._failure: MuxiError | None = None  # why the latest process, or try, ended
        self._tries_failed = 0
        self._was_healthy = False  # at any time since `run` began
        self._moves = 0
        self._parked = False
        self._letting_go = False
        self._let_go = False
        self._until_stop = trio.CancelScope()
        self._grace = trio.CancelScope()
        self._ended = trio.Event()

    @property
    def pid(self) -> int | None:
        return None if self._handle is None else self._handle.pid

    @property
    def started_at(self) -> float | None:
        return None if self._handle is None else self._handle.started_at

    @property
    def identity(self) -> Identity | None:
        return None if self._handle is None else self._handle.identity

    @property
    def container_id(self) -> str:
        return "" if self._handle is None else self._handle.container_id

    @property
    def usage(self) -> Usage | None:
        return None if self._handle is None else self._handle.usage

    @property
    def adopted(self) -> bool:
        return self._handle is not None and self._handle.adopted

    @property
    def last_probe(self) -> ProbeResult | None:
        return None if self._attendance is None else self._attendance.last_probe

    @property
    def crash_loop(self) -> bool:
        return self._stamina.crash_loop

    async def run(
        self,
        *,
        restart_on_failed_start: bool,
        adopt: Handle | None = None,
        adopt_as: State = State.STARTING,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep it running; return when it was stopped, given up or let go. Raises only Cancelled.

        Without `restart_on_failed_start` it is given up when it ends, or is not healthy in time,
        before it was healthy for the first time. `adopt` is a process that runs already; it is
        `running` or `unhealthy` at once when `adopt_as` says so, and else proves itself as one just
        started does. When this task is cancelled, the process and all its descendants are killed
        at once, in bounded time.
        """
        task_status.started()
        try:
            with self._until_stop:
                await self._keep(adopt, adopt_as, restart_on_failed_start=restart_on_failed_start)
            if self._until_stop.cancelled_caught:
                if self._letting_go:
                    self._leave_running()
                else:
                    await self._end_as_asked()
        except Exception as error:  # noqa: BLE001 - a defect of ours is this formation's failure alone
            self._log.exception("supervision_failed")
            self._fail_ourselves(error)
        finally:
            with trio.CancelScope(shield=True):
                await self._leave_nothing()
            self._ended.set()
            self.tell()

    async def wait_healthy(self) -> None:
        """Return once it is running.

        Raises as soon as the present try has failed, with why: FormationFailed, or what `spawn`
        raises. It goes on being restarted by policy, if it is. Also raises when it is stopped.
        """
        failed = self._tries_failed
        while self.state is not State.RUNNING:
            if self._failure is not None and (self.state is State.CRASHED or self._tries_failed > failed):
                raise self._failure
            if self._ended.is_set():
                raise FormationFailed(
                    "Formation was stopped before it was healthy.", code="Stopped", stage=failure.STAGE
                )
            await self.changed()

    async def stop(self) -> None:
        """End it: TERM to its group, `stop_timeout` seconds, KILL; wait until its port is free.

        Returns when all that is done, or was done before. One that had crashed for good is
        `stopped` then, too. Cancelling the caller does not take the order back. Raises
        OperatorError when the process can't be killed; then it stays `crashed`.
        """
        self._until_stop.cancel()
        if self.state is not State.STOPPED:
            await self._ended.wait()
        if self._handle is not None and self._failure is not None and not self._let_go:
            raise self._failure
        if self.state is State.CRASHED:
            self.move(Event.STOP)
            self.move(Event.STOPPED)

    async def kill(self) -> None:
        """End it as `stop` does, but without the grace; also cuts short a stop under way."""
        self._grace.cancel()
        await self.stop()

    async def detach(self) -> None:
        """Look after it no longer, and leave its process running as it is, for the next server.

        Returns when `run` is about to, or has been through before. A stop under way goes first.
        """
        self._letting_go = True
        self._until_stop.cancel()
        await self._ended.wait()

    async def _keep(self, adopt: Handle | None, adopt_as: State, *, restart_on_failed_start: bool) -> None:
        self._handle = adopt
        await trio.lowlevel.checkpoint_if_cancelled()  # stopped before it began
        self._begin(adopt_as)
        while True:
            await self._live_once()
            if not (self._was_healthy or restart_on_failed_start):
                return self._park(None)
            decision = self._stamina.decide()
            if isinstance(decision, GiveUp):
                return self._park(decision.reason)
            self.next_try_at = time.time() + decision.delay
            because, self.reason = self.reason, _joined(self.reason, decision.reason)
            self.tell()
            await trio.sleep(decision.delay)
            self.restart_count += 1
            self.move(Event.RETRY, because)

    def _begin(self, adopt_as: State) -> None:
        if self._handle is None or adopt_as not in {State.RUNNING, State.UNHEALTHY}:
            return self.move(Event.START)
        self._be_healthy(Event.ADOPTED)
        if adopt_as is State.UNHEALTHY:
            self._be_unhealthy("it was unhealthy when the server before this one ended")
        return None

    async def _live_once(self) -> None:
        """Live through one process; when it has ended, or could not be had, be `crashed`."""
        try:
            await self._live_through()
        except MuxiError as error:
            if self._handle is not None:  # it could not be ended
                raise
            self._crash(Event.FAILED, error, error.message)
        except Exception:  # noqa: BLE001 - a defect of ours, tried again as any other failure
            self._log.exception("supervision_failed")
            if self._handle is not None:
                await self._bury(self._handle, expected=True)
            self._crash(Event.FAILED, _defect(), _defect().message)

    async def _live_through(self) -> None:
        self._moves = 0
        while True:
            handle = self._handle = self._handle or await self._spawn()
            attendance = self._attendance = self._means.attendance(handle, self.spec)
            self.tell()
            verdict = await attendance.attend(self._be_ready, ready=self.healthy)
            came_up = self.healthy is not None
            self._stamina.not_healthy()
            if verdict is Verdict.HUNG:
                await self._end_hung(handle)
            report = await self._bury(handle, expected=verdict is not None)
            if came_up or not self._may_move(verdict):
                break
        self._crash(*await attendance.explain(verdict, report, came_up=came_up))

    async def _spawn(self) -> Handle:
        self.spec = await self._means.place(self.spec)
        return await self._means.launch(self.spec)

    def _may_move(self, verdict: Verdict | None) -> bool:
        """Say whether it failed because somebody else had taken its port, and can have another."""
        if self._moves >= MOST_MOVES or verdict is Verdict.LATE:
            return False
        self._moves += 1
        return self._means.must_move(self.spec)

    def _be_ready(self, ready: bool) -> None:
        if ready:
            self._be_healthy(Event.HEALTHY)
            return
        seen = self.last_probe
        self._be_unhealthy(None if seen is None else seen.detail)

    def _be_healthy(self, event: Event) -> None:
        self.healthy, self._was_healthy = True, True
        self._stamina.healthy()
        self.move(event)

    def _be_unhealthy(self, reason: str | None) -> None:
        self.healthy = False
        self._stamina.not_healthy()
        self.move(Event.UNHEALTHY, reason)

    async def _end_hung(self, handle: Handle) -> None:
        """Let it end in good order, if it still can; nothing new is sent to it meanwhile."""
        if self.healthy:
            self._be_ready(False)
        with trio.CancelScope(deadline=trio.current_time() + self.spec.stop_timeout):
            await handle.ask_to_end()

    async def _bury(self, handle: Handle, *, expected: bool) -> ExitReport:
        self.last_exit = await handle.end(expected=expected)
        self._handle = self.healthy = None
        return self.last_exit

    def _crash(self, event: Event, error: MuxiError, reason: str) -> None:
        self._failure = error
        self._tries_failed += 1
        self._stamina.failed()
        self.move(event, reason)

    def _park(self, reason: str | None) -> None:
        self._parked = True
        self.move(Event.PARKED, _joined(self.reason, reason))

    def _leave_running(self) -> None:
        self._let_go = True
        if self._handle is not None:
            self._handle.let_go()
            self._log.info("process_kept", pid=self.pid, state=str(self.state))

    async def _end_as_asked(self) -> None:
        if self.state is State.STOPPED or self._parked:
            return
        self.move(Event.STOP)
        if self._handle is not None:
            self._grace.deadline = trio.current_time() + self.spec.stop_timeout
            with self._grace:
                await self._handle.ask_to_end()
            await self._bury(self._handle, expected=True)
        await self._see_port_free()
        self.move(Event.STOPPED, self.reason)

    async def _see_port_free(self) -> None:
        self.port_free = await self._means.port_free(self.spec)
        if not self.port_free:
            self.reason = f"stopped, but another program listens on port {self.spec.port}"
            self._log.warning("port_still_taken", port=self.spec.port)

    def _fail_ourselves(self, error: Exception) -> None:
        """Be `crashed` for good, whatever state we were in."""
        why = error if isinstance(error, MuxiError) else _defect()
        if self.state in SPAWNED or self.state is State.STOPPING:
            self._crash(Event.FAILED, why, why.message)
        if self.state is State.CRASHED and not self._parked:
            self._park("`restart` starts it again")

    async def _leave_nothing(self) -> None:
        """Kill what is left when we were cancelled, or have failed. Takes bounded time."""
        if self._let_go:
            return
        if self.state in SPAWNED or (self.state is State.CRASHED and not self._parked):
            self.move(Event.STOP)
        if self._handle is not None:
            try:
                await self._bury(self._handle, expected=True)
            except MuxiError as error:
                self._log.error("process_left_behind", pid=self.pid, error=error.message)
                self._fail_ourselves(error)
        if self.state is State.STOPPING:
            self.move(Event.STOPPED)


def _defect() -> InternalError:
    return InternalError("The server failed while it supervised this; its log has the details.")


def _joined(*reasons: str | None) -> str:
    return "; ".join(filter(None, reasons))
