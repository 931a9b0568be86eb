"""Where a chunked body ends, found while its bytes pass unchanged (RFC 9112 7.1).

The scanner takes the bytes in any pieces. Sizes, extensions and trailers are checked as strictly
as heads are, and are bounded; the data of a chunk is skipped, not looked at. What it has refused
is never passed on, so the other side sees a body without an end, never one with another end.
"""

from __future__ import annotations

import re
from typing import Final

from muxi.proxy.fields import is_name

MAX_SIZE_LINE: Final = 4096
MAX_TRAILERS: Final = 16 << 10

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
#: Some servers pad the sizes of their chunks with spaces (RFC 9112 7.1 does not allow it).
_PADDED: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
#: Trailers that a recipient which merges them might act on (RFC 9110 6.5.1).
_FORBIDDEN: Final = frozenset({b"content-length", b"transfer-encoding", b"host", b"connection", b"upgrade"})

_SIZE_LINE, _DATA, _DATA_END, _TRAILER = range(4)


class ChunkError(Exception):
    """Not a well-formed chunked body."""


class TooMuchError(ChunkError):
    """A body that is larger than it may be."""


class ChunkScanner:
    """Follows one chunked body.

    With `collect`, `payload` gathers the data of the chunks, `trailers` the lines after them.
    `padded` says whether space after a chunk's size is let pass, `most` how many bytes of data
    there may be; 0: any number.
    """

    __slots__ = (
        "_left",
        "_line",
        "_most",
        "_size",
        "_state",
        "_total",
        "_trailers",
        "done",
        "payload",
        "trailers",
    )

    def __init__(self, *, collect: bool = False, padded: bool = True, most: int = 0) -> None:
        self._most = most
        self._total = 0
        self.done = False
        self._size = _PADDED if padded else _SIZE
        self.payload: list[bytes] | None = [] if collect else None
        self.trailers: list[bytes] | None = [] if collect else None
        self._state = _SIZE_LINE
        self._left = 0
        self._line = b""
        self._trailers = 0

    def feed(self, data: bytes) -> int:
        """How many bytes of `data` belong to the body: all of them until `done`. Raises ChunkError."""
        at, size = 0, len(data)
        while at < size and not self.done:
            if self._state == _DATA:
                at = self._skip(data, at)
                continue
            end = data.find(b"\n", at)
            piece = data[at:] if end < 0 else data[at : end + 1]
            at += len(piece)
            self._line += piece
            self._check_line(complete=end >= 0)
        return at

    def _skip(self, data: bytes, at: int) -> int:
        end = min(len(data), at + self._left)
        if self.payload is not None:
            self.payload.append(data[at:end])
        self._left -= end - at
        if self._left == 0:
            self._state = _DATA_END
        return end

    def _check_line(self, *, complete: bool) -> None:
        limit = MAX_TRAILERS if self._state == _TRAILER else MAX_SIZE_LINE
        if len(self._line) > limit:
            raise ChunkError("a chunk's line is too long")
        if not complete:
            if b"\r" in self._line[:-1] or (self._state == _DATA_END and self._line != b"\r"):
                raise ChunkError("a chunk's line does not end in CR LF")
            return
        if not self._line.endswith(b"\r\n"):
            raise ChunkError("a chunk's line does not end in CR LF")
        line, self._line = self._line[:-2], b""
        self._take_line(line)

    def _take_line(self, line: bytes) -> None:
        if self._state == _DATA_END:
            if line:
                raise ChunkError("a chunk is longer than its size")
            self._state = _SIZE_LINE
        elif self._state == _SIZE_LINE:
            match = self._size.fullmatch(line)
            if match is None:
                raise ChunkError("a chunk's size is malformed")
            self._left = int(match[1], 16)
            self._total += self._left
            if self._most and self._total > self._most:
                raise TooMuchError("the body is too large")
            self._state = _DATA if self._left else _TRAILER
        elif line:
            self._take_trailer(line)
        else:
            self.done = True

    def _take_trailer(self, line: bytes) -> None:
        self._trailers += len(line) + 2
        name, colon, value = line.partition(b":")
        if not colon or not is_name(name) or _VALUE.fullmatch(value) is None:
            raise ChunkError("a trailer field is malformed")
        if name.lower() in _FORBIDDEN or self._trailers > MAX_TRAILERS:
            raise ChunkError("a trailer field is not allowed, or there are too many")
        if self.trailers is not None:
            self.trailers.append(line)
