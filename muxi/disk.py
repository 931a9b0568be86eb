"""What the disk does to us, in words: what could not be done, why, and what to do about it."""

from __future__ import annotations

import errno
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from muxi.errors import StorageError
from muxi.files import PRIVATE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CURES = {
    errno.ENOSPC: "Free some space on the file system of the data directory, then try again.",
    errno.EDQUOT: "Raise the disk quota of the server's user, then try again.",
    errno.EROFS: "The file system of the data directory is mounted read-only; mount it writable.",
    errno.EACCES: "Let the server's user write in its data directory.",
    errno.EPERM: "Let the server's user write in its data directory.",
    errno.EMFILE: "Raise the server's limit of open files (ulimit -n).",
}


def storage_error(error: OSError, doing: str, *, stage: str | None = None) -> StorageError:
    """Say what could not be done and why; `doing` completes "The server could not …"."""
    reason = error.strerror or str(error)
    cure = _CURES.get(error.errno or 0, "Look at the disk and the server's log.")
    return StorageError(f"The server could not {doing}: {reason}.", stage=stage, cure=cure)


@contextmanager
def disk_work(doing: str, *, stage: str | None = None) -> Iterator[None]:
    """Turn any OSError of the block into a StorageError that says what was being done."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, doing, stage=stage) from error


def require_space(
    directory: Path, needed: int, reserve: int, doing: str, *, stage: str | None = None
) -> None:
    """Raise StorageError (DiskFull) unless `needed` bytes fit and leave `reserve` free. Blocks.

    Where the file system does not tell, nothing is refused here: writing will say.
    """
    with disk_work(f"look at the free space of {directory}", stage=stage):
        directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        found = shutil.disk_usage(directory)
    if found.total and found.free - reserve < needed:
        raise StorageError(
            f"The disk is too full to {doing}: that takes about {needed:,} bytes, "
            f"{found.free:,} are free, and {reserve:,} are to stay free.",
            code="DiskFull",
            stage=stage,
            cure=f"{_CURES[errno.ENOSPC]} Or lower formations.disk_reserve.",
            details={"needed": needed, "free": found.free, "reserve": reserve},
        )
