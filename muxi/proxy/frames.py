"""Where one frame of a WebSocket ends and the next begins (RFC 6455 5.2).

A close frame of ours may stand between two frames only. So each direction of a tunnel is followed,
by the lengths in the frames' headers alone: payloads are skipped, nothing is checked or changed,
and subprotocols, extensions and fragments are none of our business.
"""

from __future__ import annotations

from typing import Final

CLOSE: Final = 0x8
_MASKED: Final = 0x80


class FrameTracker:
    """Follows one direction from its first byte. `closed`: a close frame has come by."""

    __slots__ = ("_header", "_left", "closed")

    def __init__(self) -> None:
        self.closed = False
        #: The beginning of a frame's header whose rest has not come yet.
        self._header = b""
        self._left = 0

    @property
    def between(self) -> bool:
        """Whether what has come ends with a whole frame."""
        return not self._left and not self._header

    def feed(self, data: bytes, *, one: bool = False) -> int:
        """Follow some bytes, with `one` to the end of the present frame only; give how many."""
        known = len(self._header)
        if known:
            data, self._header = self._header + data, b""
        at, size = 0, len(data)
        while at < size:
            if not self._left:
                header = _header_size(data, at)
                if header == 0 or at + header > size:
                    self._header = data[at:]
                    return size - known
                self._left = _payload_size(data, at)
                self.closed = self.closed or data[at] & 0x0F == CLOSE
                at += header
            skipped = min(self._left, size - at)
            self._left -= skipped
            at += skipped
            if one and not self._left:
                break
        return at - known


def _header_size(data: bytes, at: int) -> int:
    """Tell a header's size by its second byte; 0 while that is missing."""
    if at + 1 >= len(data):
        return 0
    second = data[at + 1]
    length = second & 0x7F
    extended = 2 if length == 126 else 8 if length == 127 else 0
    return 2 + extended + (4 if second & _MASKED else 0)


def _payload_size(data: bytes, at: int) -> int:
    length = data[at + 1] & 0x7F
    if length == 126:
        return int.from_bytes(data[at + 2 : at + 4])
    if length == 127:
        return int.from_bytes(data[at + 2 : at + 10])
    return length


def close_frame(code: int, mask: bytes = b"") -> bytes:
    """Make a close frame (RFC 6455 5.5.1); a client's has a mask of four random bytes."""
    payload = code.to_bytes(2)
    if not mask:
        return bytes((_MASKED | CLOSE, 2)) + payload
    masked = bytes(byte ^ key for byte, key in zip(payload, mask, strict=False))
    return bytes((_MASKED | CLOSE, _MASKED | 2)) + mask + masked
