"""All formations of this server: who owns which, and what can be asked of them.

Next to nothing here waits: a request becomes an order to the formation's owner, whose `Operation` tells
how it goes. Owners are tasks of the fleet's nursery; whatever breaks in one stays in it.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from muxi.errors import Conflict, MuxiError, NotFound, OperatorError, StorageError
from muxi.formation import orders
from muxi.formation.deploy import deploy
from muxi.formation.owner import ALIVE, Owner, shutting_down
from muxi.formation.recycle import recycle
from muxi.formation.restore import reserve_ports, restore, unrecorded
from muxi.formation.rollback import rollback
from muxi.formation.run import SERVING
from muxi.formation.snapshot import view_of
from muxi.formation.source import DraftSource, UploadSource
from muxi.formation.update import update
from muxi.formation.view import Counts, PortUsage
from muxi.formation.wishes import UpdateWish
from muxi.process.lifecycle import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muxi.config.model import Config
    from muxi.formation.facilities import Facilities
    from muxi.formation.operation import Kind, Operation
    from muxi.formation.owner import Work
    from muxi.formation.source import Source
    from muxi.formation.upload import Upload
    from muxi.formation.view import FormationView, LogFiles
    from muxi.formation.wishes import RollbackWish

log = structlog.get_logger()

INTERRUPTIBLE: frozenset[Kind] = frozenset({"start", "restart", "restore", "recycle"})
"""What a stop or a delete does not wait for: the process it brings up is to go anyway."""
RESTORE_PATIENCE = 20.0
"""How long a deploy, update or rollback waits for a restore; clients' own patience begins at 30 s."""


class Fleet:
    """The owners, by id. See `muxi.api.parts.Fleet` for what the API relies on."""

    def __init__(self, facilities: Facilities) -> None:
        self._facilities = facilities
        self._owners: dict[str, Owner] = {}
        self._nursery: trio.Nursery
        self._closing = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the owners' tasks. Runs until cancelled, which kills what still runs."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    async def restore(self) -> list[Operation]:
        """Begin to bring back every formation that the registry, or the disk, knows of."""
        facilities = self._facilities
        for record in await trio.to_thread.run_sync(unrecorded, facilities):
            facilities.registry.put(record)
        reserve_ports(facilities)
        owners = [
            self._admit(Owner(record.id, facilities, record))
            for record in facilities.registry.records.values()
        ]
        return [owner.submit("restore", restore) for owner in owners]

    def configure(self, config: Config) -> None:
        """Go by another configuration: the proxy's policies at once, processes when they next start."""
        self._facilities.config = config
        for owner in self._owners.values():
            owner.publish()

    @property
    def closing(self) -> bool:
        """Whether it takes no more orders, because the server ends or makes way."""
        return self._closing

    def interrupt(self) -> None:
        """Take no more orders, and cancel and undo those under way: their watchers are told."""
        self._closing = True
        for owner in self._owners.values():
            owner.interrupt()

    async def shut_down(self) -> None:
        """End all processes, in parallel, each with its own deadline; they stay registered."""
        self._closing = True
        operations = [owner.supersede("shutdown", orders.shut_down) for owner in self._owners.values()]
        for operation in operations:
            try:
                await operation.wait()
            except MuxiError as error:
                log.warning("formation not ended", formation_id=operation.formation_id, error=error.message)

    async def detach(self, budget: float) -> int:
        """Let go of all processes, which run on; return how many there are.

        For a server that is about to be replaced by `exec`: the next program's `restore` adopts
        them. Takes no more orders; lets those under way end for up to `budget` seconds, then cancels
        and undoes them. The registry is on disk when this returns; it raises StorageError when it
        can't be written, and then nothing has been let go: the server can still shut down.
        Cancelling `run` afterwards kills nothing.
        """
        self._closing = True
        with trio.move_on_after(budget):
            await self._settled()
        self.interrupt()
        await self._settled()
        await self._facilities.registry.flush()
        kept = 0

        async def let_go(owner: Owner) -> None:
            nonlocal kept
            kept += await owner.detach()

        async with trio.open_nursery() as nursery:
            for owner in self._owners.values():
                nursery.start_soon(let_go, owner)
        with suppress(StorageError):  # what is on disk already is enough
            await self._facilities.registry.flush()
        log.info("formations kept", count=kept)
        return kept

    async def _settled(self) -> None:
        """Wait until nothing is under way."""
        for owner in list(self._owners.values()):
            while (operation := owner.operation) is not None:
                with suppress(MuxiError):
                    await operation.wait()

    def list(self) -> Sequence[FormationView]:
        views = (view_of(owner, counted=False) for owner in self._owners.values())
        return sorted((view for view in views if view is not None), key=lambda view: view.id)

    async def brought_back(self, formation_id: str) -> None:
        """Return once a server that has just started is done with this formation, within bounds.

        Until then nobody knows whether there is one: what was never committed is cleared away.
        """
        owner = self._owners.get(formation_id)
        running = None if owner is None else owner.operation
        if running is not None and running.kind == "restore":
            with trio.move_on_after(RESTORE_PATIENCE), suppress(MuxiError):
                await running.wait()

    def get(self, formation_id: str) -> FormationView:
        view = view_of(self._known(formation_id))
        if view is None:
            raise _not_found(formation_id)
        return view

    def deploy(self, upload: Upload, formation_id: str, version: str | None) -> Operation:
        """Begin a first deploy. The upload is the owner's to discard, unless this raises."""
        return self._deploy(UploadSource(upload), formation_id, version)

    def deploy_draft(self, formation_id: str) -> Operation:
        """Begin a first deploy of the formation's draft, which stays unless it comes to its end."""
        return self._deploy(DraftSource(self._facilities.draft(formation_id)), formation_id, None)

    def _deploy(self, source: Source, formation_id: str, version: str | None) -> Operation:
        present = self._owners.get(formation_id)
        if present is not None and not present.gone:
            raise _exists(present)
        most = self._facilities.config.formations.max_formations
        if len(self._owners) >= most:
            raise OperatorError(
                f"This server has {most} formations, as many as formations.max_formations allows.",
                code="FormationLimit",
                status=507,
                cure="Delete formations that are not needed, or raise the limit.",
            )
        self._refuse_when_closing()
        owner = self._admit(Owner(formation_id, self._facilities))
        return owner.submit("deploy", partial(deploy, source=source, version=version))

    def start(self, formation_id: str) -> Operation:
        owner = self._known(formation_id)
        if owner.operation is None and owner.status in ALIVE:
            raise Conflict(
                "Formation is already running", code="AlreadyRunning", cure="Use restart to start it anew."
            )
        return self._submit(owner, "start", orders.start)

    def stop(self, formation_id: str) -> Operation:
        owner = self._known(formation_id)
        if owner.operation is None and owner.status is State.STOPPED:
            raise Conflict("Formation is already stopped", code="AlreadyStopped")
        return self._submit(owner, "stop", orders.stop, ending=INTERRUPTIBLE)

    def restart(self, formation_id: str) -> Operation:
        return self._submit(self._known(formation_id), "restart", orders.restart)

    def recycle(self, formation_id: str, reason: str) -> Operation:
        """Begin to exchange its process for a new one, unnoticed by anybody; `reason` is for people.

        Raises Conflict when it does not serve just now, or another operation is under way.
        """
        owner = self._known(formation_id)
        if owner.operation is None and owner.status not in SERVING:
            raise Conflict(f"Formation is {owner.status}", code="NotRunning", cure="Start it instead.")
        return self._submit(owner, "recycle", partial(recycle, reason=reason))

    def delete(self, formation_id: str) -> Operation:
        """Begin a delete; also of a deploy under way, which is cancelled and undone first."""
        return self._submit(
            self._known(formation_id), "delete", orders.delete, ending=INTERRUPTIBLE | {"deploy"}
        )

    def update(self, upload: Upload, formation_id: str, wish: UpdateWish) -> Operation:
        """Begin an update. The upload is the owner's to discard, unless this raises."""
        return self._update(UploadSource(upload), formation_id, wish)

    def update_draft(self, formation_id: str) -> Operation:
        """Begin an update to the formation's draft, which stays unless it comes to its end."""
        draft = self._facilities.draft(formation_id)
        source = DraftSource(draft, "Updating formation from draft...")
        return self._update(source, formation_id, UpdateWish())

    def _update(self, source: Source, formation_id: str, wish: UpdateWish) -> Operation:
        return self._submit(self._known(formation_id), "update", partial(update, source=source, wish=wish))

    def rollback(self, formation_id: str, wish: RollbackWish) -> Operation:
        """Begin to go back to an earlier release."""
        return self._submit(self._known(formation_id), "rollback", partial(rollback, wish=wish))

    def cancel(self, formation_id: str) -> Operation:
        """Cancel and undo a deploy, update or rollback under way; returns it, ended soon after."""
        return self._known(formation_id).cancel()

    def operation(self, formation_id: str, operation_id: str | None = None) -> Operation:
        """Return the latest operation of a formation, or a certain one; also of one that is gone."""
        found = self._facilities.history.find(formation_id, operation_id)
        if found is None and operation_id is None:
            raise _not_found(formation_id)
        if found is None:
            raise NotFound(
                "Operation not found",
                code="OperationNotFound",
                cure="Only the latest operations of each formation are kept, until the server ends.",
            )
        return found

    def log_files(self, formation_id: str) -> LogFiles:
        return self._facilities.log_files(self._known(formation_id).id)

    def deletion(self, formation_id: str) -> trio.Event:
        return self._known(formation_id).ended

    def counts(self) -> Counts:
        states = [owner.status for owner in self._owners.values() if owner.record is not None]
        return Counts(
            total=len(states),
            running=sum(state in SERVING for state in states),
            stopped=states.count(State.STOPPED),
            crashed=states.count(State.CRASHED),
            healthy=states.count(State.RUNNING),
        )

    def ports(self) -> PortUsage:
        pool = self._facilities.ports
        return PortUsage(start=pool.start, end=pool.end, allocated=pool.allocated)

    def _submit(
        self, owner: Owner, kind: Kind, work: Work, *, ending: frozenset[Kind] = frozenset()
    ) -> Operation:
        self._refuse_when_closing()
        running = owner.operation
        if running is not None and running.kind in ending:
            return owner.supersede(kind, work)
        return owner.submit(kind, work)

    def _admit(self, owner: Owner) -> Owner:
        self._owners[owner.id] = owner
        if owner.record is not None:
            owner.publish()
        self._nursery.start_soon(self._keep, owner)
        return owner

    async def _keep(self, owner: Owner) -> None:
        # The task was started by a request, whose id is not the formation's.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(formation_id=owner.id)
        try:
            await owner.work()
            owner.ended.set()
        except Exception:
            # A defect in one formation's task must not reach the other formations.
            log.exception("formation task broke")
            self._facilities.routes.publish(owner.id, str(State.CRASHED), None)
        finally:
            if self._owners.get(owner.id) is owner:
                del self._owners[owner.id]

    def _known(self, formation_id: str) -> Owner:
        owner = self._owners.get(formation_id)
        if owner is None or owner.gone:
            raise _not_found(formation_id)
        return owner

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise shutting_down()


def _exists(owner: Owner) -> Conflict:
    running = owner.operation
    return Conflict(
        f"Formation '{owner.id}' already exists. Use PUT to update.",
        code="FormationExists",
        cure="Update it, or delete it first.",
        details={} if running is None else {"operation_id": running.id, "stage": running.stage},
    )


def _not_found(formation_id: str) -> NotFound:
    return NotFound(
        "Formation not found",
        code="FormationNotFound",
        cure="List the formations to see which there are.",
        details={"formation_id": formation_id},
    )
