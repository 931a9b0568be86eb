"""Finding out what of a repeated output stands in a log already. Pure.

The log's bytes may have others between ours, in order; its last bytes may be the beginning of a
piece that was cut short in the middle of writing.
"""

from __future__ import annotations


class Overlap:
    """`found` are the bytes in which pieces may stand. `over`: everything from now on is new."""

    def __init__(self, found: bytes) -> None:
        self._found = found
        self._position = 0
        self.over = not found

    def rest(self, piece: bytes) -> bytes:
        """Return what of a piece, the one after the piece before, is not there yet."""
        if self.over or not piece:
            return piece
        at = self._found.find(piece, self._position)
        if at >= 0:
            self._position = at + len(piece)
            self.over = self._position == len(self._found)
            return b""
        self.over = True
        return piece[self._torn(piece) :]

    def _torn(self, piece: bytes) -> int:
        """Say how much of the piece stands at the very end."""
        tail = self._found[max(self._position, len(self._found) - len(piece)) :]
        return next((size for size in range(len(tail), 0, -1) if piece.startswith(tail[-size:])), 0)
