"""The one task that changes a formation.

Everything that is done to a formation is an order to its owner, which carries out one at a time;
a second one is refused with the id of the running one instead of waiting its turn, since what it
was based on is about to change. So nothing here is locked, and nothing is ever half done when the
next order begins. The formation's process lives in the owner's nursery as an `Instance`: a task
that keeps it running, and tells the owner of every change of its state.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from muxi.errors import Conflict, MuxiError, OperatorError, RequestError
from muxi.formation.drain import drain, drain_view
from muxi.formation.operation import CANCELLABLE, Kind, Operation
from muxi.formation.policy import ProxyOptions, route_policy
from muxi.formation.view import FormationView, VersionView
from muxi.process.instance import Instance
from muxi.process.lifecycle import State
from muxi.process.procfs import hash_token
from muxi.registry.routes import Target

if TYPE_CHECKING:
    from muxi.formation.facilities import Facilities
    from muxi.process.spec import ProcessSpec
    from muxi.registry.records import FormationRecord
    from muxi.registry.traffic import TrafficView

log = structlog.get_logger()

Work = Callable[["Owner", Operation], Awaitable[Mapping[str, object]]]
"""What an order does; returns the operation's result, raises `MuxiError`."""

SERVING = frozenset({State.RUNNING, State.UNHEALTHY})
ALIVE = SERVING | {State.STARTING, State.RESTARTING}


@dataclass(frozen=True, slots=True)
class _Order:
    """Work to be done. Its scope can be cancelled before the work begins: then it never does."""

    operation: Operation
    work: Work
    scope: trio.CancelScope


class Owner:
    """Owns one formation: its record, its instance, its route, its port.

    `record` is None while a first deploy has not got far enough for one, and after a delete; an
    owner without a record and without an order ends.
    """

    def __init__(
        self, formation_id: str, facilities: Facilities, record: FormationRecord | None = None
    ) -> None:
        self.id = formation_id
        self.facilities = facilities
        self.record = record
        self.instance: Instance | None = None
        self._latest: _Order | None = None
        self._interrupted = False
        self._orders, self._inbox = trio.open_memory_channel[_Order](2)
        self._nursery: trio.Nursery
        self._target: Target | None = None
        self._mark: dict[str, object] | None = None
        #: What has lost its place in the route and waits for its last requests to end.
        self._draining: Target | None = None
        #: Whether the process is to end, so that what it says of itself makes no target of it.
        self._halting = False
        #: Whether the order under way will make it serve again, so that requests are held.
        self.coming_back = False
        #: The server's defaults until a release's manifest has been read.
        self.policy = route_policy(ProxyOptions(), facilities.config.proxy)

    # What others ask of it, from their own tasks

    @property
    def status(self) -> State:
        if self._draining is not None:
            return State.STOPPING
        if self.instance is not None:
            return self.instance.state
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
        """Give an order that cancels the one under way, which is undone first."""
        if self.operation is not None:
            assert self._latest is not None
            self._latest.scope.cancel()
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
        """Cancel and undo what is under way, because the server ends."""
        self._interrupted = True
        if self.operation is not None:
            assert self._latest is not None
            self._latest.scope.cancel()

    def view(self) -> FormationView | None:
        """Say how it stands; None when there is nothing to be seen of it yet."""
        record, instance = self.record, self.instance
        if record is None:
            return None
        status = self.status
        started = instance.started_at if instance is not None else None
        return FormationView(
            id=record.id,
            name=record.name,
            status=str(status),
            port=record.port,
            pid=instance.pid if instance is not None else None,
            uptime=int(time.time() - started) if started is not None and status in SERVING else 0,
            restart_count=record.restart_count,
            healthy=instance.healthy if instance is not None and status in ALIVE else False,
            version=VersionView(semantic=record.semantic, current=record.bundle_hash),
            created_at=record.created_at,
            deployed_at=record.deployed_at,
            updated_at=started or record.updated_at,
            since=instance.since if instance is not None else record.updated_at,
            reason=instance.reason if instance is not None else None,
            next_try_at=instance.next_try_at if instance is not None else None,
            last_exit=instance.last_exit if instance is not None else None,
            operation_id=self.operation.id if self.operation is not None else None,
            traffic=self._traffic(),
            drain=drain_view(self._draining) if self._draining is not None else None,
        )

    def _traffic(self) -> TrafficView | None:
        route = self.facilities.routes.live.get(self.id.encode())
        return route.traffic.snapshot() if route is not None else None

    # The task

    async def run(self) -> None:
        """Carry out orders until the formation is gone. Cancelling it kills the process group."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            async for order in self._inbox:
                await self._carry_out(order)
                if self.gone:
                    break
            nursery.cancel_scope.cancel()

    # What work does through it, in the owner's own task

    async def mark(self, token: str) -> None:
        """Write down, on disk, by what the processes about to be started will be known as ours.

        Before the first one is: a server that is killed right after must find it again.
        """
        assert self.record is not None
        self._mark = {"token_sha256": hash_token(token.encode())}
        self.record.process = self._mark
        self.facilities.registry.put(self.record)
        await self.facilities.registry.flush()

    async def launch(
        self,
        spec: ProcessSpec,
        *,
        persistent: bool,
        on_attempt: Callable[[int, int, str], None] | None = None,
    ) -> Instance:
        """Start the process. `persistent`: also a start that never becomes healthy is tried again."""
        assert self.record is not None
        self._halting = False
        self.instance = Instance(
            spec,
            self.facilities.restart_policy(),
            on_change=self._instance_changed,
            on_attempt=on_attempt,
            restart_count=self.record.restart_count,
        )
        await self._nursery.start(partial(self.instance.run, restart_on_failed_start=persistent))
        return self.instance

    async def halt(self, operation: Operation) -> None:
        """Let what is under way end, then end the process, if there is one, as its stop time-out says.

        Called again after it was cancelled, it goes on where it was.
        """
        self._halting = True
        self._draining, self._target = self._target or self._draining, None
        self.publish()
        if self._draining is not None:
            budget = self.facilities.config.formations.drain_timeout
            await drain(self._draining, self.facilities.routes, budget, operation)
            self._draining = None
        if self.instance is not None:
            await self.instance.stop()

    def save(self, record: FormationRecord) -> None:
        """Make this the formation's record, in the registry and in the routing table."""
        self.record = record
        self.facilities.registry.put(record)
        self.publish()

    def publish(self) -> None:
        """Tell the proxy how it stands, if it stands at all."""
        if self.record is not None:
            self.facilities.routes.publish(
                self.id, str(self.status), self._target, self.policy, returning=self._returning()
            )

    def forget(self) -> None:
        """Take the formation out of registry, routing table and port pool."""
        self.record = None
        self._target = None
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

    async def _carry_out(self, order: _Order) -> None:
        operation = order.operation
        self.coming_back = False
        try:
            with order.scope:
                operation.succeed(await order.work(self, operation))
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
                operation.fail(shutting_down() if self._interrupted else _cancelled(operation))
            self.coming_back = False
            self.publish()

    def _returning(self) -> bool:
        """Whether it will serve again soon without anybody's doing, so that requests may wait for that."""
        if self.coming_back:
            return True
        if self.instance is None:
            return self.status is State.STARTING and self.operation is not None
        if self.status is State.CRASHED:
            return self.instance.next_try_at is not None
        return self.status in {State.STARTING, State.RESTARTING}

    def _instance_changed(self, instance: Instance) -> None:
        """Write down, and tell the proxy, what the instance says of itself."""
        if instance is not self.instance or self.record is None:
            return
        serving = instance.state in SERVING and not self._halting
        if serving and self._target is None:
            self._target = Target(self.facilities.config.formations.bind_host, self.record.port)
        elif not serving:
            self._target = None
        self.record.restart_count = instance.restart_count
        identity = instance.identity
        self.record.process = identity.to_json() if identity is not None else self._mark
        self.save(self.record)


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
