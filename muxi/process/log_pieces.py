"""The rotated files of a log: `agent-out.log.0000000000000000`, numbered by their first byte's position.

So a file never changes its name, names sort by age, and what is in one is known from its name and
size. While a piece is being copied, and until it is committed, its name ends in `.part`.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_NUMBER = re.compile(r"\.(\d{16})(\.part)?")


class Piece(NamedTuple):
    """One rotated file, with the bytes from position `start` to `end`; `changed` is Unix time."""

    start: int
    end: int
    path: Path
    partial: bool
    changed: float


def piece_path(log: Path, start: int) -> Path:
    return log.with_name(f"{log.name}.{start:016d}")


def part_path(log: Path, start: int) -> Path:
    return log.with_name(f"{log.name}.{start:016d}.part")


def pieces(log: Path) -> list[Piece]:
    """Return the rotated files of a log, the oldest first. Raises OSError."""
    found = []
    try:
        with os.scandir(log.parent) as entries:
            for entry in entries:
                if entry.name.startswith(log.name) and (
                    number := _NUMBER.fullmatch(entry.name, len(log.name))
                ):
                    with suppress(FileNotFoundError):  # dropped, or given its name, meanwhile
                        facts = entry.stat(follow_symlinks=False)
                        start = int(number[1])
                        path = log.with_name(entry.name)
                        partial = number[2] is not None
                        found.append(Piece(start, start + facts.st_size, path, partial, facts.st_mtime))
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda piece: (piece.start, piece.partial))


def newest_end(log: Path) -> int:
    """Return the position after all that is in rotated files: where a file without a mark begins."""
    return max((piece.end for piece in pieces(log) if not piece.partial), default=0)


def remove(log: Path) -> None:
    """Remove a log with its rotated files; what is not there is fine. Raises OSError.

    The log goes first: a rotation under way sees that it is gone, and leaves nothing.
    """
    log.unlink(missing_ok=True)
    for piece in pieces(log):
        piece.path.unlink(missing_ok=True)
