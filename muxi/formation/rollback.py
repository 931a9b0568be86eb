"""Rolling back: an earlier release that is still there takes over, as with an update; the data stays."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from muxi.errors import MuxiError
from muxi.formation.cleanup import in_thread, settle
from muxi.formation.exchange import exchange, explain, keep_word
from muxi.formation.manifest import read_manifest
from muxi.formation.orders import committed_release

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.formation.operation import Operation
    from muxi.formation.owner import Owner
    from muxi.formation.releases import Release, Releases
    from muxi.formation.wishes import RollbackWish


async def rollback(owner: Owner, operation: Operation, *, wish: RollbackWish) -> Mapping[str, object]:
    """Carry out a rollback order. The same again rolls forward."""
    releases = owner.facilities.releases(owner.id)
    try:
        operation.progress("validating", "Looking for the release...")
        before = await committed_release(owner)
        release = await trio.to_thread.run_sync(_target, releases, wish.release)
        manifest = await trio.to_thread.run_sync(read_manifest, release.path)
        named = "previous version" if wish.release is None else f"release {release.number}"
        result = await exchange(
            owner,
            operation,
            release,
            manifest,
            before=before,
            wanted=wish.strategy,
            message=lambda _: f"Rolled back to {named}",
            commit=partial(in_thread, releases.roll_back_to),
        )
        await keep_word(owner)
    except MuxiError as error:
        explain(error)
        raise
    finally:
        await settle(owner)
    return result


def _target(releases: Releases, wanted: int | str | None) -> Release:
    """Find the release that is meant; a text is the version of one, the latest used first."""
    if not isinstance(wanted, str):
        return releases.rollback_target(wanted)
    others = releases.kept()[1:]
    found = next((release.number for release in others if release.semantic == wanted), None)
    if found is None and wanted.isascii() and wanted.isdigit():
        found = int(wanted[:9])
    return releases.rollback_target(-1 if found is None else found)
