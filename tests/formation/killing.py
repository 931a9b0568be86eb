"""A process that dies before a certain change on the disk: what it did before stays, nothing comes after."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

CHANGES: tuple[tuple[object, str], ...] = (
    (os, "rename"),
    (os, "replace"),
    (os, "unlink"),
    (os, "rmdir"),
    (os, "mkdir"),
    (os, "symlink"),
    (os, "link"),
    (os, "write"),
    (os, "fsync"),
    (shutil, "copy2"),
)


class Killed(BaseException):
    """Not an Exception: nothing in the house may stop it."""


def killing_at(step: int, patch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Let the process die before its n-th change on the disk; return what counts them.

    A dead process does nothing more, so all that comes after in `finally` and the like fails too.
    """
    done = 0

    def wrapped(name: str, original: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **more: object) -> object:
            nonlocal done
            done += 1
            if done >= step:
                raise Killed
            return None if name == "fsync" else original(*arguments, **more)

        return call

    for owner, name in CHANGES:
        patch.setattr(owner, name, wrapped(name, getattr(owner, name)))
    return lambda: done


def tree(directory: Path) -> dict[str, str]:
    """Return every file and link below a directory, and directories that are empty."""
    found = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink().as_posix()}"
        elif path.is_file():
            found[name] = path.read_bytes().decode("latin-1")
        elif not any(path.iterdir()):
            found[f"{name}/"] = ""
    return found
