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

from muxi.errors import Conflict, MuxiError
from muxi.formation.operation import Kind, Operation
from muxi.formation.view import FormationView, VersionView
from muxi.process.instance import Instance
from muxi.process.lifecycle import State
from muxi.registry.routes import Target

if TYPE_CHECKING:
    from muxi.formation.facilities import Facilities
    from muxi.process.spec import ProcessSpec
    from muxi.registry.records import FormationRecord

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
        self._orders, self._inbox = trio.open_memory_channel[_Order](2)
        self._nursery: trio.Nursery
        self._target: Target | None = None

    # What others ask of it, from their own tasks

    @property
    def status(self) -> State:
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
            raise _conflict(self.operation)
        return self._enqueue(kind, work)

    def supersede(self, kind: Kind, work: Work) -> Operation:
        """Give an order that cancels the one under way, which is undone first."""
        if self.operation is not None:
            assert self._latest is not None
            self._latest.scope.cancel()
        return self._enqueue(kind, work)

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
        )

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

    async def launch(
        self,
        spec: ProcessSpec,
        *,
        persistent: bool,
        on_attempt: Callable[[int, int, str], None] | None = None,
    ) -> Instance:
        """Start the process. `persistent`: also a start that never becomes healthy is tried again."""
        assert self.record is not None
        self.instance = Instance(
            spec,
            self.facilities.restart_policy(),
            on_change=self._instance_changed,
            on_attempt=on_attempt,
            restart_count=self.record.restart_count,
        )
        await self._nursery.start(partial(self.instance.run, restart_on_failed_start=persistent))
        return self.instance

    async def halt(self) -> None:
        """End the process, if there is one, as its stop time-out says."""
        if self.instance is not None:
            await self.instance.stop()

    def save(self, record: FormationRecord) -> None:
        """Make this the formation's record, in the registry and in the routing table."""
        self.record = record
        self.facilities.registry.put(record)
        self.facilities.routes.publish(self.id, str(self.status), self._target)

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
        return order.operation

    async def _carry_out(self, order: _Order) -> None:
        operation = order.operation
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
                operation.fail(_cancelled(operation))

    def _instance_changed(self, instance: Instance) -> None:
        """Write down, and tell the proxy, what the instance says of itself."""
        if instance is not self.instance or self.record is None:
            return
        serving = instance.state in SERVING
        if serving and self._target is None:
            self._target = Target(self.facilities.config.formations.bind_host, self.record.port)
        elif not serving:
            self._target = None
        self.record.restart_count = instance.restart_count
        identity = instance.identity
        self.record.process = identity.to_json() if identity is not None else None
        self.save(self.record)


def _conflict(operation: Operation) -> Conflict:
    return Conflict(
        f"Formation '{operation.formation_id}' is busy: {operation.kind} is under way.",
        code="OperationInProgress",
        cure="Wait until it has ended, then try again.",
        details={"operation_id": operation.id, "stage": operation.stage, "kind": operation.kind},
    )


def _cancelled(operation: Operation) -> Conflict:
    return Conflict(f"The {operation.kind} was cancelled.", code="Cancelled", stage=operation.stage)
