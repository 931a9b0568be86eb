"""Removing trees that somebody else has written in; and, from `muxi.disk`, what the disk does to us."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

from muxi.disk import disk_work, require_space, storage_error

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["disk_work", "remove_temporaries", "remove_tree", "require_space", "storage_error"]


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
