"""Starting, stopping, restarting and deleting: the short orders that an owner carries out."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from muxi.errors import InternalError, StorageError
from muxi.formation.bring_up import bring_up, launch, make_plan, started, wait_for_dependencies
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
    await _begin(owner, operation)
    await bring_up(owner, operation, release, persistent=False)
    return await _up(owner, operation, "Formation started")


async def restart(owner: Owner, operation: Operation) -> Mapping[str, object]:
    """End the process, if there is one, and start it again. Clears the count of restarts.

    What it needs is read, and what it depends on waited for, before anything is stopped.
    """
    release = await committed_release(owner)
    owner.depends_on = (await read_plan(owner.facilities, owner.id, release)).manifest.depends_on
    await wait_for_dependencies(owner, operation)
    operation.progress("stopping", "Stopping formation...")
    owner.coming_back = True
    owner.facilities.registry.keep(owner.id, operation.receipt(time.time()))
    await owner.halt(operation)
    operation.progress("validating", "Validating formation...")
    plan = await make_plan(owner, operation, release)
    await _begin(owner, operation)
    await launch(owner, operation, plan, persistent=True)
    return await _up(owner, operation, "Formation restarted")


async def stop(owner: Owner, operation: Operation) -> Mapping[str, object]:
    """End the process and write down that it shall stay so: from then on a next server leaves it stopped."""
    operation.progress("stopping", "Stopping formation...")
    assert owner.record is not None
    result = _gone(owner, "stopped")
    owner.record.stopped = True
    owner.facilities.registry.keep(owner.id, operation.receipt(time.time(), result))
    owner.save(owner.record)
    await owner.halt(operation)
    owner.record.process = owner.record.other = None
    owner.record.updated_at = time.time()
    owner.save(owner.record)
    await owner.facilities.registry.flush()
    return result


async def delete(owner: Owner, operation: Operation) -> Mapping[str, object]:
    """End the process and remove all that there is of the formation, its output too.

    The files go first: a server that dies half-way finds a record without files, and forgets it.
    """
    operation.progress("stopping", "Stopping formation...")
    await owner.halt(operation)
    operation.progress("deleting", "Deleting formation...")
    result = _gone(owner, "deleted")
    # It counts from the moment at which the files are gone: `muxi.formation.versions.receipts`.
    owner.facilities.registry.keep(owner.id, operation.receipt(time.time(), result))
    with suppress(StorageError):  # a full disk is what one deletes for
        await owner.facilities.registry.flush()
    await trio.to_thread.run_sync(owner.facilities.releases(owner.id).remove)
    await trio.to_thread.run_sync(remove_logs, owner.facilities.log_files(owner.id))
    owner.forget()
    await owner.facilities.registry.flush()
    return result


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


async def _begin(owner: Owner, operation: Operation) -> None:
    assert owner.record is not None
    owner.facilities.registry.keep(owner.id, operation.receipt(time.time()))
    owner.record.stopped = False
    owner.record.restart_count = 0
    owner.coming_back = True
    owner.record.updated_at = time.time()
    owner.save(owner.record)


async def _up(owner: Owner, operation: Operation, message: str) -> Mapping[str, object]:
    """Return the result of what has brought it up, once that is on the disk with its receipt."""
    result = {**started(owner), "message": message}
    owner.facilities.registry.keep(owner.id, operation.receipt(time.time(), result))
    await owner.facilities.registry.flush()
    return result


def _gone(owner: Owner, status: str) -> Mapping[str, object]:
    return {
        "id": owner.id,
        "formation_id": owner.id,
        "status": status,
        "message": f"Formation {status} successfully",
    }
