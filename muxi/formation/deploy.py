"""Deploying a new formation: from an upload or a draft to a healthy process, or to nothing at all.

Each step that leaves something behind first registers how to undo it. A failure or a
cancellation anywhere runs those in reverse; the commit of the release is the point after which
nothing is undone. A server that dies in between leaves an uncommitted release and a record that
names it, which the next start clears away (`muxi.formation.restore`).
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

import trio

from muxi.errors import StorageError
from muxi.formation.bring_up import bring_up, started
from muxi.formation.check import check_bundle
from muxi.formation.disk import remove_tree
from muxi.registry.records import FormationRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from muxi.formation.bundle import Bundle
    from muxi.formation.manifest import Manifest
    from muxi.formation.operation import Operation
    from muxi.formation.owner import Owner
    from muxi.formation.releases import Release
    from muxi.formation.source import Source
    from muxi.formation.view import LogFiles

SETTLE_SECONDS = 1.0


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
            release = await _place(owner, manifest, bundle, source.bundle_hash(bundle), undo)
            await bring_up(owner, operation, release, persistent=False)
            await trio.to_thread.run_sync(owner.facilities.releases(owner.id).commit, release)
            undo.pop_all()
        await source.used()
        await owner.facilities.registry.flush()
    finally:
        await source.close()
        await _in_thread(remove_tree, workplace)
        await _settle(owner)
    return {**started(owner), **_addresses(owner), "message": "Formation deployed"}


async def _place(
    owner: Owner, manifest: Manifest, bundle: Bundle, bundle_hash: str, undo: AsyncExitStack
) -> Release:
    facilities = owner.facilities
    port = facilities.ports.allocate(owner.id)
    undo.callback(facilities.ports.release, owner.id)
    releases = facilities.releases(owner.id)
    undo.push_async_callback(_in_thread, releases.clear)
    release: Release = await trio.to_thread.run_sync(
        partial(
            releases.place,
            bundle.root,
            semantic=manifest.version,
            bundle_hash=bundle_hash,
            content_hash=bundle.content_hash,
        )
    )
    logs = facilities.log_files(owner.id)
    await _in_thread(remove_logs, logs)
    undo.push_async_callback(_in_thread, remove_logs, logs)
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


def remove_logs(logs: LogFiles) -> None:
    """Remove a formation's output (blocking); what is not there is fine."""
    logs.stdout.unlink(missing_ok=True)
    logs.stderr.unlink(missing_ok=True)


def _addresses(owner: Owner) -> dict[str, object]:
    record, facilities = owner.record, owner.facilities
    assert record is not None
    host = facilities.config.formations.bind_host
    return {
        "url": f"{facilities.server_url}/api/{owner.id}",
        "health_url": f"http://{host}:{record.port}/v1/health",
    }


async def _halt(owner: Owner) -> None:
    """End the process also when the deploy was cancelled; `Instance.kill` bounds it itself."""
    with trio.CancelScope(shield=True):
        if owner.instance is not None:
            await owner.instance.kill()
            owner.instance = None


async def _settle(owner: Owner) -> None:
    """Have the registry on disk say what is so, also after an undoing, before anybody is told.

    Where the disk refuses, the registry's own task goes on trying.
    """
    with trio.move_on_after(SETTLE_SECONDS, shield=True), suppress(StorageError):
        await owner.facilities.registry.flush()


async def _in_thread(work: Callable[..., object], *arguments: object) -> None:
    """Do blocking clean-up work; also when cancelled, since what is half removed helps nobody."""
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(work, *arguments)
