"""What the disk does to us, in words, and removing trees that somebody else has written in."""

from __future__ import annotations

import errno
import os
import shutil
import stat
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


def remove_tree(path: Path) -> None:
    """Remove a file, link or directory with all below it. What is not there is fine. Raises OSError.

    A formation may have left directories that its own user can't enter; those are opened first.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(path)
    except PermissionError:
        _open_directories(path)
        shutil.rmtree(path)


def _open_directories(top: Path) -> None:
    top.chmod(stat.S_IRWXU)
    for directory, names, _ in os.walk(top):
        for name in names:
            child = os.path.join(directory, name)  # noqa: PTH118 - os.walk gives texts
            if not os.path.islink(child):  # noqa: PTH114
                os.chmod(child, stat.S_IRWXU)  # noqa: PTH101


def remove_temporaries(directory: Path, *names: str) -> None:
    """Remove what a killed server left of `atomic_write` and of swapping links. Raises OSError."""
    for path in directory.iterdir():
        if any(path.name.startswith(f".{name}.") for name in names):
            path.unlink()
