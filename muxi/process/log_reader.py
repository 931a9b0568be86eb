"""Reading a log by position, wherever its bytes lie: in the file being written, or in rotated ones.

Rotation goes on meanwhile, in another thread or another process, and nothing is locked: what was
read from the file counts only if its mark is the same afterwards; else it is read again.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from muxi.process.log_mark import Mark, look
from muxi.process.log_pieces import newest_end, pieces

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

_LISTINGS = 2  # one listing may miss a file that is just given its name; the next one does not


class LogReader:
    """One reader of a log. Its methods block: one caller, in threads.

    `cuts` counts how often the file was found shorter than before, or without its mark: somebody
    emptied it. What is in it then is new, and begins at `start`.
    """

    def __init__(self, path: Path) -> None:
        """Open the log. Raises FileNotFoundError, or another OSError."""
        self.path = path
        self.cuts = 0
        self._live = path.open("rb", buffering=0)
        self._piece: tuple[int, FileIO] | None = None
        try:
            self._marked, self._mark, self._size = self._look()
        except BaseException:
            self._live.close()
            raise

    @property
    def start(self) -> int:
        """The position where the file that is being written begins."""
        return self._mark.valid

    @property
    def end(self) -> int:
        """The position after the last byte, as of the latest look."""
        return self._mark.base + self._size

    def first(self) -> int:
        """Return the position of the first byte from which on none is missing. Raises OSError."""
        first = self.start
        for piece in reversed(pieces(self.path)):
            if piece.start < first <= piece.end:
                first = piece.start
        return first

    def read(self, position: int, size: int) -> tuple[int, bytes]:
        """Return up to `size` bytes from a position on, and where they really begin.

        That is later than asked for when the bytes there have been dropped. No bytes: the end is
        reached, or the file was cut (see `cuts`). Raises OSError.
        """
        while True:
            mark = self._mark
            if position < mark.valid:
                position, data = self._read_piece(position, min(size, mark.valid - position))
                if data:
                    return position, data
                continue
            data = os.pread(self._live.fileno(), size, position - mark.base)
            if self._was_cut() or position > self.end:
                self.cuts += 1
                return self.start, b""
            if mark == self._mark:
                return position, data

    def replaced(self) -> bool:
        """Tell whether the name belongs to another file now. Raises OSError."""
        try:
            return not os.path.samestat(self.path.stat(), os.fstat(self._live.fileno()))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        self._live.close()
        if self._piece is not None:
            self._piece[1].close()

    def _look(self) -> tuple[bool, Mark, int]:
        mark, size = look(self._live.fileno())
        if mark is not None:
            return True, mark, size
        base = newest_end(self.path)
        return False, Mark(base, base), size

    def _was_cut(self) -> bool:
        """Look where the bytes lie now, and tell whether somebody has cut the file."""
        mark, size = look(self._live.fileno())
        if mark is None:
            cut = self._marked or size < self._size
        else:  # one that was rotated has the same end
            cut = mark.base + size < self.end
            self._marked, self._mark = True, mark
        if cut:
            self._marked, self._mark, size = self._look()
        self._size = size
        return cut

    def _read_piece(self, position: int, size: int) -> tuple[int, bytes]:
        """Read from a rotated file; with no bytes, return where the next ones that there are begin."""
        following = position
        for _ in range(1 + _LISTINGS):
            if self._piece is not None and self._piece[0] <= position:
                start, file = self._piece
                data = os.pread(file.fileno(), size, position - start)
                if data:
                    return position, data
            following = self._open_piece(position)
        return following, b""

    def _open_piece(self, position: int) -> int:
        """Open the rotated file with a position, if there is one; return the next position there is."""
        following = self.start
        for piece in reversed(pieces(self.path)):
            if piece.start > position:
                following = min(following, piece.start)
            elif position < piece.end:
                try:
                    file = piece.path.open("rb", buffering=0)
                except FileNotFoundError:  # given its name, or dropped, since it was listed
                    continue
                if self._piece is not None:
                    self._piece[1].close()
                self._piece = (piece.start, file)
                return position
        return following
