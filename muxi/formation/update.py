"""Updating: from an upload or a draft to a new release that serves, or to no change at all.

    extract, validate      nothing is touched yet
    place                  the release lies in its directory; version.json does not know it
    stage, probe           its process runs beside the old one (`muxi.formation.replace`)
    commit                 version.json is written: the one step that decides
    switch, drain, stop    what can't fail, and is finished by the next start if the server dies

A failure or a cancellation before the commit removes what was placed. A server that is killed
leaves either the old release, with a directory and perhaps a process that the next start clears
away, or the new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from muxi.errors import Conflict, MuxiError
from muxi.formation.check import check_bundle
from muxi.formation.cleanup import clear_away, in_thread, settle
from muxi.formation.disk import remove_tree
from muxi.formation.exchange import exchange, explain, keep_word
from muxi.formation.orders import committed_release

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.formation.bundle import Bundle
    from muxi.formation.manifest import Manifest, Strategy
    from muxi.formation.operation import Operation
    from muxi.formation.owner import Owner
    from muxi.formation.releases import Release
    from muxi.formation.source import Source
    from muxi.formation.wishes import UpdateWish


async def update(
    owner: Owner, operation: Operation, *, source: Source, wish: UpdateWish
) -> Mapping[str, object]:
    """Carry out an update order. The source is closed in any case."""
    config = owner.facilities.config
    workplace = owner.facilities.workspace / f"extract-{operation.id}"
    try:
        bundle = await source.prepare(operation, workplace, config.formations)
        operation.progress("validating", "Validating formation...")
        manifest = await trio.to_thread.run_sync(check_bundle, bundle.root, config, owner.id, wish.version)
        before = await committed_release(owner)
        if not wish.force:
            _refuse_same(before, bundle, source.bundle_hash(bundle))
        coming = _Coming(before, manifest, bundle, source.bundle_hash(bundle), wish.strategy)
        result = await _install(owner, operation, coming)
        await source.used()
    except MuxiError as error:
        explain(error)
        raise
    finally:
        await clear_away(source.close, partial(in_thread, remove_tree, workplace))
        await settle(owner)
    return result


@dataclass(frozen=True, slots=True)
class _Coming:
    """What is to take the place of `before`."""

    before: Release
    manifest: Manifest
    bundle: Bundle
    bundle_hash: str
    strategy: Strategy | None


async def _install(owner: Owner, operation: Operation, coming: _Coming) -> Mapping[str, object]:
    releases = owner.facilities.releases(owner.id)
    release: Release = await trio.to_thread.run_sync(
        partial(
            releases.place,
            coming.bundle.root,
            semantic=coming.manifest.version,
            bundle_hash=coming.bundle_hash,
            content_hash=coming.bundle.content_hash,
            key=coming.manifest.kind == "muxi",
        )
    )
    try:
        result = await exchange(
            owner,
            operation,
            release,
            coming.manifest,
            before=coming.before,
            wanted=coming.strategy,
            message=_message,
            commit=partial(in_thread, releases.commit),
        )
    except BaseException:
        await clear_away(partial(in_thread, releases.discard, release))  # a committed one is left alone
        raise
    await keep_word(owner)
    return result


def _message(strategy: Strategy) -> str:
    return f"Formation updated {'with zero downtime' if strategy == 'blue-green' else 'by a restart'}"


def _refuse_same(before: Release, bundle: Bundle, bundle_hash: str) -> None:
    same = bundle.content_hash == before.content_hash if before.content_hash else False
    if same or bundle_hash == before.bundle_hash:
        raise Conflict(
            "No changes detected: these files are deployed already.",
            code="NoChange",
            stage="validating",
            cure="Change something, or send `force` to deploy the same again.",
            details={"release": before.number},
        )
