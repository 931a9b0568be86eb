"""A container's output as the engine sends it: frames of two streams, each with its time. Pure.

A frame is a header of eight bytes (the stream's number, three zeros, the payload's length in four
bytes, big-endian) and the payload: a line, or a piece of one that is very long, with its time and
a space before it where the request asked for times. (Docker Engine API, "Attach to a container,
stream format".)
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = 8
STDERR = 2
MOST_PAYLOAD = 8 << 20
"""No engine sends longer pieces (Docker: 16 KiB and the time); more means that it is no such stream."""


class Entry(NamedTuple):
    """A piece of output; `at` is nanoseconds since 1970, and what follows it comes at least as late."""

    stderr: bool
    at: int
    data: bytes


class Frames:
    """Takes the bytes as they come, gives the entries as they are complete."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Entry]:
        """Give the entries that these bytes complete. Raises ValueError when they are no such stream."""
        self._rest += data
        start = 0
        while len(self._rest) - start >= HEADER:
            stream = self._rest[start]
            size = int.from_bytes(self._rest[start + 4 : start + HEADER], "big")
            if stream > STDERR + 1 or size > MOST_PAYLOAD:
                raise ValueError("not a stream of frames")
            end = start + HEADER + size
            if len(self._rest) < end:
                break
            payload = bytes(self._rest[start + HEADER : end])
            start = end
            time, _, line = payload.partition(b" ")
            yield Entry(stream == STDERR, nanoseconds(time.decode("ascii", "replace")), line)
        del self._rest[:start]


def nanoseconds(text: str) -> int:
    """Read a time as RFC 3339 has it, exactly; 0 for the engine's "never". Raises ValueError."""
    whole, dot, rest = text.partition(".")
    if not dot:
        return max(0, int(datetime.fromisoformat(text).timestamp()) * 10**9)
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    seconds = int(datetime.fromisoformat(whole + rest[len(digits) :]).timestamp())
    return max(0, seconds * 10**9 + int(digits[:9].ljust(9, "0")))


def since(at: int) -> str:
    """Write a time as the engine's `since` takes it."""
    return f"{at // 10**9}.{at % 10**9:09d}"
