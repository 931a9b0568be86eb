"""The one task that changes a formation.

Everything that is done to a formation is an order to its owner, which carries out one at a time;
a second one is refused with the id of the running one instead of waiting its turn, since what it
was based on is about to change. So nothing here is locked, and nothing is ever half done when the
next order begins. The formation's process lives in the owner's nursery as a `Run`: a task that
keeps it running, and tells the owner of every change of its state.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
import trio

from muxi.errors import Conflict, MuxiError, OperatorError, RequestError
from muxi.formation.adopting import end_ownerless
from muxi.formation.cleanup import collect
from muxi.formation.drain import drain
from muxi.formation.operation import CANCELLABLE, Kind, Operation
from muxi.formation.policy import ProxyOptions, route_policy
from muxi.formation.run import SERVING, Run
from muxi.process.lifecycle import State

if TYPE_CHECKING:
    from muxi.formation.facilities import Facilities
    from muxi.formation.plan import Plan
    from muxi.process.instance import Instance
    from muxi.registry.records import FormationRecord
    from muxi.registry.routes import RoutePolicy

log = structlog.get_logger()

Work = Callable[["Owner", Operation], Awaitable[Mapping[str, object]]]
"""What an order does; returns the operation's result, raises `MuxiError`."""

ALIVE = SERVING | {State.STARTING, State.RESTARTING}


@dataclass(frozen=True, slots=True)
class _Order:
    """Work to be done. Its scope can be cancelled before the work begins: then it never does."""

    operation: Operation
    work: Work
    scope: trio.CancelScope


class Owner:
    """Owns one formation: its record, its processes, its route, its ports.

    `record` is None while a first deploy has not got far enough for one, and after a delete; an
    owner without a record and without an order ends. `run` is the process that requests go to, or
    went to last; `other` is there only while one is replaced: the one to come, then the one to go.
    `waits_for` are the formations without which its process is not started yet, and `note` is
    what a person should know of it while its process has nothing to say.
    """

    def __init__(
        self, formation_id: str, facilities: Facilities, record: FormationRecord | None = None
    ) -> None:
        self.id = formation_id
        self.facilities = facilities
        self.record = record
        self.run: Run | None = None
        self.other: Run | None = None
        self.depends_on: tuple[str, ...] = ()
        self.waits_for: tuple[str, ...] = ()
        self.note: str | None = None
        self.nursery: trio.Nursery
        #: Set once there is nothing of the formation any more.
        self.ended = trio.Event()
        #: Whether the order under way will make it serve again, so that requests are held.
        self.coming_back = False
        #: Whether its release counts: nobody is served by one that a crash would undo, requests are held.
        self.counts = True
        #: The wait of an order that can't be undone any more; cancelled, it hurries to its end.
        self.farewell = trio.CancelScope()
        self.interrupted = False
        self._latest: _Order | None = None
        self._orders, self._inbox = trio.open_memory_channel[_Order](2)

    # What others ask of it, from their own tasks

    @property
    def instance(self) -> Instance | None:
        return None if self.run is None else self.run.instance

    @property
    def policy(self) -> RoutePolicy:
        """How its requests are to be treated, as its manifest and the server's configuration say now."""
        options = ProxyOptions() if self.run is None else self.run.plan.manifest.proxy
        return route_policy(options, self.facilities.config.proxy)

    @property
    def status(self) -> State:
        if self.run is not None:
            return self.run.instance.state if self.run.leaving is None else State.STOPPING
        stopped = self.record is not None and self.record.stopped
        return State.STOPPED if stopped else State.STARTING

    @property
    def operation(self) -> Operation | None:
        """The operation that is under way."""
        if self._latest is None or self._latest.operation.ended:
            return None
        return self._latest.operation

    @property
    def gone(self) -> bool:
        """Whether there is nothing of the formation any more, and nothing under way."""
        return self.record is None and self.operation is None

    def submit(self, kind: Kind, work: Work) -> Operation:
        """Give an order. Raises Conflict while another one is being carried out."""
        if self.operation is not None:
            raise busy(self.operation)
        return self._enqueue(kind, work)

    def supersede(self, kind: Kind, work: Work) -> Operation:
        """Give an order that cancels the one under way, which is undone first, or hurries to its end."""
        self._cancel_latest()
        return self._enqueue(kind, work)

    def cancel(self) -> Operation:
        """Cancel and undo the operation under way, at somebody's wish, and return it.

        Raises RequestError when there is none that could be, Conflict when it is too late.
        """
        running = self.operation
        if running is None or running.kind not in CANCELLABLE:
            raise _nothing_to_cancel(running)
        if not running.can_cancel:
            raise too_late(running)
        assert self._latest is not None
        self._latest.scope.cancel()
        return running

    def interrupt(self) -> None:
        """Cancel and undo what is under way, or hurry it to its end, because the server ends."""
        self.interrupted = True
        self._cancel_latest()

    async def detach(self) -> bool:
        """Let go of the process, which runs on for the next server; say whether there was one.

        Nothing may be under way. What the registry holds of it stays. One that the next server could
        not prove to be ours is ended instead: it would only be in the way.
        """
        if self.run is None:
            return False
        instance = self.run.instance
        if instance.pid is not None and instance.identity is None and not instance.container_id:
            await instance.stop()
        await instance.detach()
        return instance.pid is not None

    # The task

    async def work(self) -> None:
        """Carry out orders until the formation is gone. Cancelling it kills the process group."""
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            async for order in self._inbox:
                await self._carry_out(order)
                if self.gone:
                    break
            nursery.cancel_scope.cancel()

    # What orders do through it, in the owner's own task

    def launch(
        self, plan: Plan, *, persistent: bool, on_attempt: Callable[[int, int, str], None] | None = None
    ) -> Run:
        """Start the process. `persistent`: also a start that never becomes healthy is tried again."""
        assert self.record is not None
        self.run = self.make_run(plan, key=self.id, port=self.record.port, on_attempt=on_attempt)
        self.run.start(self.nursery, persistent=persistent)
        return self.run

    def make_run(
        self,
        plan: Plan,
        *,
        key: str,
        port: int,
        on_attempt: Callable[[int, int, str], None] | None = None,
    ) -> Run:
        assert self.record is not None
        return Run(
            self.facilities,
            plan,
            key=key,
            port=port,
            on_change=self._run_changed,
            on_attempt=on_attempt,
            restart_count=self.record.restart_count,
        )

    async def halt(self, operation: Operation) -> None:
        """Let what is under way end, then end the process, if there is one, as its stop time-out says.

        Called again after it was cancelled, it goes on where it was.
        """
        run = self.run
        if run is not None:
            run.retire()
        self.publish()
        if run is not None:
            await self.see_off(run, operation)
            await run.instance.stop()
            await collect(self, run.plan.release.path)
        await end_ownerless(self)

    async def see_off(self, run: Run, operation: Operation) -> None:
        """Wait, within bounds, for the requests under way to a process that is retired."""
        if run.leaving is not None:
            budget = self.facilities.config.formations.drain_timeout
            await drain(run.leaving, self.facilities.routes, budget, operation)
            run.leaving = None

    def save(self, record: FormationRecord) -> None:
        """Make this the formation's record, in the registry and in the routing table."""
        self.record = record
        self.facilities.registry.put(record)
        self.publish()

    def hold_back(self) -> None:
        """Let requests wait, also once the process is healthy: its release does not count yet."""
        self.counts = False
        self.publish()

    def admit(self) -> None:
        """Let requests through to the process: its release counts now."""
        self.counts = True
        self.publish()

    def publish(self) -> None:
        """Tell the proxy, and who depends on it, how it stands, if it stands at all."""
        if self.record is None:
            return
        self.facilities.board.post(self.id, self.status)
        self.facilities.routes.publish(
            self.id,
            str(self.status),
            self.run.reachable if self.run is not None and self.counts else None,
            self.policy,
            returning=self._returning(),
        )

    def forget(self) -> None:
        """Take the formation out of registry, routing table and port pool."""
        self.record = None
        self.run = None
        self.facilities.board.remove(self.id)
        self.facilities.routes.withdraw(self.id)
        self.facilities.registry.remove(self.id)
        self.facilities.ports.release(self.id)

    def _enqueue(self, kind: Kind, work: Work) -> Operation:
        order = _Order(Operation(kind, self.id), work, trio.CancelScope())
        try:
            self._orders.send_nowait(order)
        except (trio.WouldBlock, trio.BrokenResourceError):
            raise Conflict(
                f"Formation '{self.id}' can't take an order now.", cure="Try again in a moment."
            ) from None
        self._latest = order
        self.facilities.history.add(order.operation)
        self.publish()
        return order.operation

    def _cancel_latest(self) -> None:
        if self.operation is not None:
            assert self._latest is not None
            self._latest.scope.cancel()
            self.farewell.cancel()

    async def _carry_out(self, order: _Order) -> None:
        operation = order.operation
        self.coming_back = False
        self.farewell = trio.CancelScope(shield=True)
        try:
            with order.scope:
                result = await order.work(self, operation)
                await self._settle()
                operation.succeed(result)
                log.info("operation done", operation=operation.kind)
        except MuxiError as error:
            log.info("operation failed", operation=operation.kind, stage=operation.stage, code=error.code)
            operation.fail(error)
        except Exception as error:
            # Whatever goes wrong in one formation must not end the others.
            log.exception("operation broke", operation=operation.kind, stage=operation.stage)
            operation.fail(error)
        finally:
            if not operation.ended:
                operation.fail(shutting_down() if self.interrupted else _cancelled(operation))
            self.coming_back = False
            self.publish()

    async def _settle(self) -> None:
        """Return once all processes that proxy go by what has been done; nothing of that is undone now."""
        with trio.CancelScope(shield=True):
            await self.facilities.routes.settled()

    def _returning(self) -> bool:
        """Whether it will serve again soon without anybody's doing, so that requests may wait for that."""
        if self.coming_back or not self.counts:
            return True
        if self.run is None:
            return self.status is State.STARTING and self.operation is not None
        if self.status is State.CRASHED:
            return self.run.instance.next_try_at is not None
        return self.status in {State.STARTING, State.RESTARTING, State.UNHEALTHY}

    def _run_changed(self, run: Run) -> None:
        """Write down, and tell the proxy, what a process's instance says of itself."""
        record = self.record
        if record is None or run not in {self.run, self.other}:
            return
        if run is self.run:
            record.process, record.port = run.entry, run.port
            record.restart_count = run.instance.restart_count
        else:
            record.other = run.entry
        self.save(record)


def busy(operation: Operation) -> Conflict:
    return Conflict(
        f"Formation '{operation.formation_id}' is busy: {operation.kind} is under way.",
        code="OperationInProgress",
        cure="Wait until it has ended, then try again.",
        details={"operation_id": operation.id, "stage": operation.stage, "kind": operation.kind},
    )


def _nothing_to_cancel(running: Operation | None) -> RequestError:
    details: dict[str, object] = {}
    if running is not None:
        details = {"operation_id": running.id, "kind": running.kind}
    return RequestError(
        "No update in progress for this formation",
        code="NothingToCancel",
        cure="Deploys, updates and rollbacks can be cancelled; a start or a restart is ended by a stop.",
        details=details,
    )


def too_late(operation: Operation) -> Conflict:
    return Conflict(
        f"The {operation.kind} can't be cancelled any more: the new release serves already.",
        code="TooLateToCancel",
        cure="Roll back once it is done.",
        details={"operation_id": operation.id, "stage": operation.stage},
    )


def shutting_down() -> OperatorError:
    return OperatorError(
        "The server is shutting down.",
        code="ShuttingDown",
        status=503,
        cure="Try again when it is back.",
    )


def _cancelled(operation: Operation) -> Conflict:
    return Conflict(f"The {operation.kind} was cancelled.", code="Cancelled", stage=operation.stage)
