"""Starting, stopping, restarting and deleting: the short orders that an owner carries out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from muxi.errors import InternalError
from muxi.formation.bring_up import (
    bring_up,
    launch,
    started,
    tell_resolved,
    tell_resolving,
    wait_for_dependencies,
)
from muxi.formation.cleanup import remove_logs
from muxi.formation.plan import read_plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.formation.operation import Operation
    from muxi.formation.owner import Owner
    from muxi.formation.releases import Release


async def start(owner: Owner, operation: Operation) -> Mapping[str, object]:
    """Start what is stopped or crashed. When it does not become healthy it is ended again."""
    operation.progress("validating", "Validating formation...")
    release = await committed_release(owner)
    await _begin(owner)
    await bring_up(owner, operation, release, persistent=False)
    await owner.facilities.registry.flush()
    return {**started(owner), "message": "Formation started"}


async def restart(owner: Owner, operation: Operation) -> Mapping[str, object]:
    """End the process, if there is one, and start it again. Clears the count of restarts.

    What it needs is read, and what it depends on waited for, before anything is stopped.
    """
    operation.progress("stopping", "Stopping formation...")
    plan = await read_plan(owner.facilities, owner.id, await committed_release(owner))
    owner.depends_on = plan.manifest.depends_on
    await wait_for_dependencies(owner, operation)
    owner.coming_back = True
    await owner.halt(operation)
    operation.progress("validating", "Validating formation...")
    await _begin(owner)
    tell_resolving(operation)  # it was before; but clients know the steps in this order
    tell_resolved(operation)
    await launch(owner, operation, plan, persistent=True)
    await owner.facilities.registry.flush()
    return {**started(owner), "message": "Formation restarted"}


async def stop(owner: Owner, operation: Operation) -> Mapping[str, object]:
    """End the process and write down that it shall stay so."""
    operation.progress("stopping", "Stopping formation...")
    assert owner.record is not None
    owner.record.stopped = True
    owner.save(owner.record)
    await owner.halt(operation)
    owner.record.process = owner.record.other = None
    owner.record.updated_at = time.time()
    owner.save(owner.record)
    await owner.facilities.registry.flush()
    return {
        "id": owner.id,
        "formation_id": owner.id,
        "status": "stopped",
        "message": "Formation stopped successfully",
    }


async def delete(owner: Owner, operation: Operation) -> Mapping[str, object]:
    """End the process and remove all that there is of the formation, its output too.

    The files go first: a server that dies half-way finds a record without files, and forgets it.
    """
    operation.progress("stopping", "Stopping formation...")
    await owner.halt(operation)
    operation.progress("deleting", "Deleting formation...")
    await trio.to_thread.run_sync(owner.facilities.releases(owner.id).remove)
    await trio.to_thread.run_sync(remove_logs, owner.facilities.log_files(owner.id))
    owner.forget()
    await owner.facilities.registry.flush()
    return {
        "id": owner.id,
        "formation_id": owner.id,
        "status": "deleted",
        "message": "Formation deleted successfully",
    }


async def shut_down(owner: Owner, operation: Operation) -> Mapping[str, object]:
    """End the process because the server ends; it is started again with the server."""
    operation.progress("stopping", "Stopping formation...")
    await owner.halt(operation)
    if owner.record is not None:
        owner.record.process = owner.record.other = None
        owner.facilities.registry.put(owner.record)
    return {"id": owner.id}


async def committed_release(owner: Owner) -> Release:
    release = await trio.to_thread.run_sync(owner.facilities.releases(owner.id).current)
    if release is None:
        raise InternalError(
            f"The files of formation '{owner.id}' are gone.",
            code="ReleaseMissing",
            cure="Delete it, and deploy it again.",
        )
    return release


async def _begin(owner: Owner) -> None:
    assert owner.record is not None
    owner.record.stopped = False
    owner.record.restart_count = 0
    owner.coming_back = True
    owner.record.updated_at = time.time()
    owner.save(owner.record)
