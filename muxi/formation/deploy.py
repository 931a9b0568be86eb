"""Deploying a new formation: from an upload or a draft to a healthy process, or to nothing at all.

Each step that leaves something behind first registers how to undo it. A failure or a
cancellation anywhere runs those in reverse; the commit of the release is the point after which
nothing is undone. A server that dies in between leaves an uncommitted release and a record that
names it, which the next start clears away (`muxi.formation.restore`).
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import trio

from muxi.errors import MuxiError
from muxi.formation.bring_up import addresses, bring_up, started
from muxi.formation.check import check_bundle
from muxi.formation.cleanup import clear_away, in_thread, remove_logs, settle
from muxi.formation.disk import remove_tree
from muxi.registry.records import FormationRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.formation.bundle import Bundle
    from muxi.formation.manifest import Manifest
    from muxi.formation.operation import Operation
    from muxi.formation.owner import Owner
    from muxi.formation.releases import Release
    from muxi.formation.source import Source


async def deploy(
    owner: Owner, operation: Operation, *, source: Source, version: str | None
) -> Mapping[str, object]:
    """Carry out a deploy order. The source is closed in any case."""
    config = owner.facilities.config
    workplace = owner.facilities.workspace / f"extract-{operation.id}"
    try:
        bundle = await source.prepare(operation, workplace, config.formations)
        operation.progress("validating", "Validating formation...")
        manifest = await trio.to_thread.run_sync(check_bundle, bundle.root, config, owner.id, version)
        async with AsyncExitStack() as undo:
            owner.hold_back()
            release = await _place(owner, manifest, bundle, source.bundle_hash(bundle), undo)
            await bring_up(owner, operation, release, persistent=False)
            operation.decided = True
            result = await _commit(owner, operation)
            undo.pop_all()
        owner.admit()
        await source.used()
    except MuxiError as error:
        error.details.setdefault("rollback_status", "not_needed")
        raise
    finally:
        await clear_away(source.close, partial(in_thread, remove_tree, workplace))
        await settle(owner)
    return result


async def _commit(owner: Owner, operation: Operation) -> Mapping[str, object]:
    assert owner.run is not None
    result = {**started(owner), **addresses(owner, owner.run), "message": "Formation deployed"}
    commit = owner.facilities.releases(owner.id).commit
    await in_thread(commit, owner.run.plan.pinned, operation.receipt(time.time(), result))
    return result


async def _place(
    owner: Owner, manifest: Manifest, bundle: Bundle, bundle_hash: str, undo: AsyncExitStack
) -> Release:
    facilities = owner.facilities
    port = facilities.ports.allocate(owner.id)
    undo.callback(facilities.ports.release, owner.id)
    releases = facilities.releases(owner.id)
    undo.push_async_callback(in_thread, releases.clear)
    release: Release = await trio.to_thread.run_sync(
        partial(
            releases.place,
            bundle.root,
            semantic=manifest.version,
            bundle_hash=bundle_hash,
            content_hash=bundle.content_hash,
            key=manifest.kind == "muxi",
        )
    )
    logs = facilities.log_files(owner.id)
    await in_thread(remove_logs, logs)
    undo.push_async_callback(in_thread, remove_logs, logs)
    undo.callback(owner.forget)
    undo.push_async_callback(_halt, owner)
    now = time.time()
    owner.save(
        FormationRecord(
            id=owner.id,
            name=manifest.name,
            port=port,
            semantic=manifest.version,
            bundle_hash=bundle_hash,
            created_at=now,
            deployed_at=release.deployed_at,
            updated_at=now,
        )
    )
    return release


async def _halt(owner: Owner) -> None:
    """End the process also when the deploy was cancelled; `Instance.kill` bounds it itself."""
    with trio.CancelScope(shield=True):
        if owner.run is not None:
            await owner.run.instance.kill()
            owner.run = None
