"""The step that decides which release counts, in the middle of an operation that can't be undone after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio

from muxi.errors import StorageError

if TYPE_CHECKING:
    from muxi.formation.releases import Release, Releases

log = structlog.get_logger()


async def commit_release(releases: Releases, release: Release) -> None:
    """Make a placed release the current one. Raises StorageError when it is not; can't be cancelled."""
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(_decide, releases, release, True)


async def commit_rollback(releases: Releases, release: Release) -> None:
    """Make a kept release the current one, as `commit_release` does."""
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(_decide, releases, release, False)


def _decide(releases: Releases, release: Release, is_new: bool) -> None:
    """Write it, and when the disk complains, look which way it went: what is on disk is what counts."""
    try:
        if is_new:
            releases.commit(release)
        else:
            releases.roll_back(release.number)
    except StorageError as error:
        current = releases.current()
        if current is None or current.number != release.number:
            raise
        log.warning("committed, though the disk complained", release=release.number, error=error.message)
