"""Rotating a formation's logs: by size, so many files each, and never more than a total.

A log is rotated while its process writes to it at full speed, and no line is lost, doubled or split:

1. Its oldest bytes, up to the end of a line, are *copied* to a file of their own.
2. The mark at the log's top is *stamped*: from now on those bytes count there, not here. This one
   small write is the commit: before it the copy is nothing, after it the original is.
3. The copy gets its name.
4. The original is taken out (`muxi.process.log_shrink`).

Whatever a server that died has left of this is finished, or thrown away, by the next rotation.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muxi.process.log_mark import Mark, look, stamp
from muxi.process.log_pieces import newest_end, part_path, piece_path, pieces
from muxi.process.log_shrink import CHUNK, NO_ROOM, shrink, write_part

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from muxi.process.log_pieces import Piece

SLACK = 32 * 1024
"""Bytes that logs may take beside their lines: the rest of a block at their ends, and marks."""


@dataclass(frozen=True, slots=True)
class LogLimits:
    """A log of `max_size` bytes is rotated, `max_files` rotated ones are kept, `max_total` is for all.

    `max_size` is 1024 at the least, so that there is always room for a mark.
    `max_total` bytes are what all the logs of one process may take together, 0: as much as the
    other two allow.
    """

    max_size: int
    max_files: int
    max_total: int = 0

    def total(self, logs: int) -> int:
        """Return how much so many logs may take together; never less than one rotation needs."""
        allowed = logs * self.max_size * (self.max_files + 1)
        return max(min(allowed, self.max_total or allowed), (logs + 1) * self.max_size)


def is_due(log: Path, limits: LogLimits) -> bool:
    """Tell whether a log has grown to its size. Cheap; blocks. Raises OSError."""
    try:
        large = log.stat().st_size >= limits.max_size
    except FileNotFoundError:
        return False
    return large and _own_size(log) >= limits.max_size


def rotate_all(logs: Sequence[Path], limits: LogLimits) -> int:
    """Rotate those logs of one process that are due, and keep within the limits. Blocks.

    Returns how many bytes had to be dropped that the limits would have kept, because the disk is
    full: the oldest. Raises OSError; nothing is lost then, and calling it again goes on.
    """
    lost = sum(_Rotation(log, logs, limits).run() for log in logs)
    trim(logs, limits)
    return lost


def trim(logs: Sequence[Path], limits: LogLimits) -> None:
    """Drop the oldest rotated files until the rest is within the limits. Blocks. Raises OSError."""
    kept: list[Piece] = []
    for log in logs:
        kept += keep_newest(log, limits.max_files)
    kept.sort(key=lambda piece: (piece.changed, piece.start), reverse=True)  # several in one tick, too
    taken = sum(piece.end - piece.start for piece in kept) + sum(map(_own_size, logs))
    while kept and taken > limits.total(len(logs)):
        oldest = kept.pop()
        oldest.path.unlink(missing_ok=True)
        taken -= oldest.end - oldest.start


def keep_newest(log: Path, count: int) -> list[Piece]:
    """Drop all rotated files but the newest; return those. Blocks. Raises OSError."""
    found = pieces(log)
    surplus = max(len(found) - count, 0)
    for piece in found[:surplus]:
        piece.path.unlink(missing_ok=True)
    return found[surplus:]


def make_room(logs: Sequence[Path]) -> Piece | None:
    """Drop the oldest rotated file of any of the logs; None when there is none. Blocks."""
    found = [piece for log in logs for piece in pieces(log) if not piece.partial]
    if not found:
        return None
    oldest = min(found, key=lambda piece: piece.changed)
    oldest.path.unlink(missing_ok=True)
    return oldest


def room_taken(logs: Sequence[Path]) -> int:
    """Return how many bytes of the disk the logs take with their rotated files. Blocks."""
    files = [*logs, *(piece.path for log in logs for piece in pieces(log))]
    return sum(map(_room, files))


def _room(path: Path) -> int:
    try:
        facts = path.stat()
    except FileNotFoundError:
        return 0
    return min(facts.st_size, facts.st_blocks * 512)


def _own_size(log: Path) -> int:
    """Return how many bytes are in the log itself and in no rotated file."""
    try:
        fd = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        return _own_bytes(fd)
    finally:
        os.close(fd)


def _own_bytes(fd: int) -> int:
    mark, size = look(fd)
    return size if mark is None else mark.base + size - mark.valid


class _Rotation:
    """Rotates one log once. `logs` are all those of its process, which share the limits."""

    def __init__(self, log: Path, logs: Sequence[Path], limits: LogLimits) -> None:
        self._log = log
        self._logs = logs
        self._limits = limits
        self._lost = 0

    def run(self) -> int:
        try:
            fd = os.open(self._log, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            self._rotate(fd)
        finally:
            os.close(fd)
        return self._lost

    def _rotate(self, fd: int) -> None:
        mark, size = look(fd)
        self._tidy_parts(mark)
        if mark is None:
            base = newest_end(self._log)
            mark = Mark(base, base)
        end = mark.base + size
        mark = self._skip(fd, mark, end)
        while end - mark.valid >= self._limits.max_size:
            start = mark.valid
            mark = Mark(mark.base, self._line_end(fd, mark, start + self._limits.max_size))
            lost = not self._copy(fd, start - mark.base, mark.valid - mark.base, start)
            if not self._is_still(fd, mark.valid - mark.base):
                part_path(self._log, start).unlink(missing_ok=True)
                return
            stamp(fd, mark)
            if lost:  # for want of room: make some
                shrink(fd, self._log)
                mark = look(fd)[0] or mark
            else:
                part_path(self._log, start).rename(piece_path(self._log, start))
        shrink(fd, self._log)

    def _tidy_parts(self, mark: Mark | None) -> None:
        """Finish or throw away what a rotation that was cut short has left."""
        for piece in pieces(self._log):
            if piece.partial and mark is not None and piece.start < mark.valid:
                piece.path.rename(piece_path(self._log, piece.start))
            elif piece.partial:
                piece.path.unlink(missing_ok=True)

    def _skip(self, fd: int, mark: Mark, end: int) -> Mark:
        """Drop what would be dropped as soon as it was copied, or has no room to be there twice.

        So much is written between two looks only by a process that nobody could keep up with.
        """
        limits = self._limits
        total, own = limits.total(len(self._logs)), end - mark.valid
        kept = min(limits.max_size * (limits.max_files + 1), max(total - own, total // 4))
        if end - kept < mark.valid + limits.max_size:
            return mark
        skipped = Mark(mark.base, self._line_end(fd, mark, end - kept))
        if self._is_still(fd, end - mark.base):
            stamp(fd, skipped)
            shrink(fd, self._log)
        return look(fd)[0] or mark

    def _line_end(self, fd: int, mark: Mark, limit: int) -> int:
        """Return the position after the last line that ends before a limit, else the limit.

        A line that is longer than half the size of a log is divided between two files.
        """
        position = limit
        floor = limit - self._limits.max_size // 2
        while position > floor:
            size = min(CHUNK, position - floor)
            position -= size
            newline = os.pread(fd, size, position - mark.base).rfind(b"\n")
            if newline >= 0:
                return position + newline + 1
        return limit

    def _copy(self, fd: int, offset: int, end: int, start: int) -> bool:
        """Copy a range of the file to a file of its own; False when even dropping makes no room."""
        self._fit(end - offset)
        part = part_path(self._log, start)
        while True:
            try:
                write_part(fd, offset, end - offset, part)
            except OSError as error:
                part.unlink(missing_ok=True)
                if error.errno not in NO_ROOM:
                    raise
                dropped = make_room(self._logs)
                if dropped is None:
                    self._lost += end - offset  # better than a formation that can't write at all
                    return False
                self._lost += dropped.end - dropped.start
            else:
                return True

    def _fit(self, size: int) -> None:
        """Drop the oldest rotated files for so many bytes more, which are there twice for a moment."""
        keep_newest(self._log, self._limits.max_files - 1)
        most = self._limits.total(len(self._logs)) + self._limits.max_size + SLACK - size
        while room_taken(self._logs) > most and make_room(self._logs) is not None:
            pass

    def _is_still(self, fd: int, size: int) -> bool:
        """Tell whether the log is still this file, and as long: nobody removed or emptied it."""
        try:
            return os.path.samestat(self._log.stat(), os.fstat(fd)) and os.fstat(fd).st_size >= size
        except FileNotFoundError:
            return False
