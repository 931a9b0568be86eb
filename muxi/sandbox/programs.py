"""What of the disk a program needs to be started: itself, its interpreter, and what they were installed with.

An interpreter in a home directory is shown with its installation, and nothing else of that home;
a program that is in no `bin`, by itself.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_STEPS: Final = 16
_LINE: Final = 512


def places(program: str, search_path: str) -> tuple[Path, ...]:
    """Return where a program is, what links lead to, and its interpreters with what they need (blocking)."""
    found: dict[Path, None] = {}
    steps = _steps(Path(program), search_path)
    for _, step in zip(range(MOST_STEPS), steps, strict=False):
        found.update(dict.fromkeys(_installation(step)))
    return tuple(found)


def _steps(path: Path, search_path: str) -> Iterator[Path]:
    """Yield a program, then where its link leads, or who interprets it, and so on."""
    current: Path | None = path
    while current is not None:
        yield current
        current = _target(current) or _interpreter(current, search_path)


def _target(path: Path) -> Path | None:
    """Follow one link: of the file itself, else of a directory on the way."""
    try:
        return Path(os.path.normpath(path.parent / path.readlink()))
    except OSError:
        real = Path(os.path.realpath(path))
        return real if real != path else None


def _interpreter(path: Path, search_path: str) -> Path | None:
    try:
        with path.open("rb") as file:
            first = file.readline(_LINE)
    except OSError:
        return None
    if not first.startswith(b"#!"):
        return None
    words = os.fsdecode(first[2:].strip()).split()
    if words and Path(words[0]).name == "env":
        named = next((word for word in words[1:] if not word.startswith("-") and "=" not in word), None)
        found = None if named is None else shutil.which(named, path=search_path)
        return None if found is None else Path(found)
    return Path(words[0]) if words else None


def _installation(program: Path) -> Iterator[Path]:
    directory = program.parent
    prefix = directory.parent
    if directory.name != "bin":  # it may be somebody's home, or the root of all
        if program.exists():
            yield program
    elif (prefix / "pyvenv.cfg").is_file():
        yield prefix
    else:
        yield from (place for place in (directory, prefix / "lib", prefix / "lib64") if place.is_dir())
