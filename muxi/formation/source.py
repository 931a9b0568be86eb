"""Where the files of a new release come from: an upload or a draft. Each becomes a bundle on disk."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog
import trio

from muxi.errors import NotFound, StorageError
from muxi.formation.bundle import extract
from muxi.formation.disk import disk_work, require_space
from muxi.formation.gunzip import unpacked_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from muxi.config.model import FormationsConfig
    from muxi.formation.bundle import Bundle
    from muxi.formation.drafts import Draft
    from muxi.formation.operation import Operation
    from muxi.formation.upload import Upload

log = structlog.get_logger()


class Source(Protocol):
    """What an operation makes a release of."""

    async def prepare(self, operation: Operation, workplace: Path, settings: FormationsConfig) -> Bundle:
        """Make the bundle in `workplace`, which must not exist, reporting how it goes.

        Raises MuxiError; then, and when cancelled, there is no `workplace`.
        """
        ...

    def bundle_hash(self, bundle: Bundle) -> str:
        """Return what version.json records: the SHA-256 of what was sent."""
        ...

    async def used(self) -> None:
        """Clear away what the release has been made of, after the commit."""
        ...

    async def close(self) -> None:
        """Clear away what is of no use any more, however the operation ended; also when cancelled."""
        ...


class UploadSource:
    """A bundle that was sent. The upload is discarded however it ends."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload

    async def prepare(self, operation: Operation, workplace: Path, settings: FormationsConfig) -> Bundle:
        operation.progress("extracting", "Extracting bundle...")
        upload, limits = self._upload, settings.bundle
        await trio.to_thread.run_sync(require_space_for, upload, workplace.parent, settings)
        return await trio.to_thread.run_sync(
            partial(
                extract,
                upload.path,
                workplace,
                limits,
                report=_percentages(operation, upload.size),
                check_cancelled=trio.from_thread.check_cancelled,
            )
        )

    def bundle_hash(self, bundle: Bundle) -> str:
        del bundle
        return self._upload.sha256

    async def used(self) -> None:
        """Nothing is left to be done: `close` discards the upload."""

    async def close(self) -> None:
        await self._upload.discard()


class DraftSource:
    """A formation's draft. It is copied, so one that can't be deployed is still there afterwards.

    Once it is deployed it goes, unless it was edited on since. `message` is what watchers are told.
    """

    def __init__(self, draft: Draft, message: str = "Deploying new formation from draft...") -> None:
        self._draft = draft
        self._message = message
        self._copied: object = None

    async def prepare(self, operation: Operation, workplace: Path, settings: FormationsConfig) -> Bundle:
        operation.progress("validating", self._message)
        return await trio.to_thread.run_sync(self._copy, workplace, settings)

    def _copy(self, workplace: Path, settings: FormationsConfig) -> Bundle:
        self._copied = self._draft.fingerprint()
        needed = self._draft.measure().size
        require_space(workplace.parent, needed, settings.disk_reserve, "copy the draft", stage="validating")
        return self._draft.copy(workplace, settings.bundle, trio.from_thread.check_cancelled)

    def bundle_hash(self, bundle: Bundle) -> str:
        return bundle.content_hash

    async def used(self) -> None:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._discard)

    def _discard(self) -> None:
        try:
            if self._draft.fingerprint() == self._copied:
                self._draft.discard()
        except NotFound:  # discarded meanwhile
            pass
        except StorageError as error:  # it is deployed all the same
            log.warning("draft not removed", reason=error.message)

    async def close(self) -> None:
        """Nothing is left to be done: the draft is the user's."""


def require_space_for(upload: Upload, directory: Path, settings: FormationsConfig) -> None:
    """Raise StorageError (DiskFull) unless what the upload unpacks to will fit. Blocks."""
    limits = settings.bundle
    with disk_work("read the bundle", stage="extracting"):
        needed = min(unpacked_size(upload.path, limits.max_ratio), limits.max_total_size)
    require_space(directory, needed, settings.disk_reserve, "extract the bundle", stage="extracting")


def _percentages(operation: Operation, size: int) -> Callable[[int], None]:
    """Return what the extracting thread calls with the bytes read: an event every ten per cent."""
    reported = 0

    def report(read: int) -> None:
        nonlocal reported
        percent = min(100, read * 100 // max(size, 1)) // 10 * 10
        if percent > reported:
            reported = percent
            trio.from_thread.run_sync(
                partial(operation.progress, "extracting", "Extracting bundle...", progress=percent)
            )

    return report
