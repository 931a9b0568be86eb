"""Messages in a stream of bytes: each with its length before it. Pure."""

from __future__ import annotations

from typing import Final

PREFIX: Final = 4
#: A head may have 1 MiB, and what has come behind it is handed over with it.
LARGEST: Final = 4 << 20


class FrameError(Exception):
    """What came can't be a message of ours."""


def frame(content: bytes) -> bytes:
    """Put the length before a message. Raises FrameError for one that is too large to be taken."""
    if len(content) > LARGEST:
        raise FrameError(f"a message of {len(content)} bytes")
    return len(content).to_bytes(PREFIX, "big") + content


class Frames:
    """Finds the messages in what comes, however it is cut."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take what has come, and give the messages that are complete now. Raises FrameError."""
        pending, found, start = self._pending, [], 0
        pending += data
        while len(pending) - start >= PREFIX:
            size = int.from_bytes(pending[start : start + PREFIX], "big")
            if size > LARGEST:
                raise FrameError(f"a message of {size} bytes is announced")
            end = start + PREFIX + size
            if len(pending) < end:
                break
            found.append(bytes(pending[start + PREFIX : end]))
            start = end
        del pending[:start]
        return found
