"""What is known of an environment that is complete, in a file of its own inside of it.

The file is written last, so an environment without it is one that was never finished.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from muxi.config.values import hide_credentials
from muxi.environment.installer import programs
from muxi.files import atomic_write

if TYPE_CHECKING:
    from muxi.environment.recipe import Recipe

NAME: Final = "muxi-environment.json"
PUBLIC_FILE: Final = 0o644
_PACKAGES: Final = "Lib/site-packages" if os.name == "nt" else "lib/python*/site-packages"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """`python` is the interpreter's version; `size` is in bytes, `created_at` Unix time."""

    key: str
    python: str
    interpreter: str
    source: str
    requirements: tuple[str, ...]
    installer: str
    packages: int
    size: int
    created_at: float


def read_record(path: Path) -> Record | None:
    """Return the record of a complete environment that still works; None for any other. Blocks."""
    try:
        record = msgspec.json.decode((path / NAME).read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError):
        return None
    # Its Python is a link: to nowhere, when the interpreter has been removed.
    python = programs(path) / ("python.exe" if os.name == "nt" else "python")
    return record if os.access(python, os.X_OK) else None


def write_record(path: Path, key: str, recipe: Recipe, installer: str) -> Record:
    """Declare an environment complete. Blocks; raises OSError."""
    record = Record(
        key=key,
        python=recipe.interpreter.number,
        interpreter=str(recipe.interpreter.real),
        source=recipe.requirements.source,
        requirements=tuple(map(hide_credentials, recipe.requirements.lines)),
        installer=installer,
        packages=len(list(path.glob(f"{_PACKAGES}/*.dist-info"))),
        size=_size(path),
        created_at=time.time(),
    )
    # After a power cut the record must not be all that there is.
    os.sync() if hasattr(os, "sync") else None
    atomic_write(path / NAME, msgspec.json.encode(record), PUBLIC_FILE)
    return record


def mark_used(path: Path) -> None:
    """Note that it is wanted now, for those who remove what is not. Blocks; raises OSError."""
    os.utime(path / NAME)


def used_at(path: Path) -> float:
    """Return when it was last wanted, in Unix time. Blocks; raises OSError."""
    return (path / NAME).stat().st_mtime


def _size(path: Path) -> int:
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            total += os.lstat(Path(directory, name)).st_blocks * 512 if os.name != "nt" else 0
    return total
