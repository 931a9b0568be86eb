"""A body in passing: what to send on of each read, and whether that was its end.

One class for each framing; all have `take(data)`, which gives the bytes to send on, `finish()`,
called when the sender closes, `done`, and `surplus`, the bytes read beyond the end.
"""

from __future__ import annotations

from typing import Protocol

from muxi.proxy.chunked import ChunkError, ChunkScanner, TooMuchError
from muxi.proxy.heads import CHUNKED, UNTIL_CLOSE


class BodyError(Exception):
    """The body is malformed, or ended before its time."""


class BodyTooLargeError(BodyError):
    """The body is larger than it may be."""


class Body(Protocol):
    """What the classes of this module have in common."""

    done: bool
    surplus: bytes

    def take(self, data: bytes) -> bytes:
        """Give what to send on of `data`. Raises BodyError."""
        ...

    def finish(self) -> bytes:
        """Give what to send on at the sender's close. Raises BodyError if that is no proper end."""
        ...


class CountedBody:
    """A body whose length was given."""

    __slots__ = ("done", "left", "surplus")

    def __init__(self, length: int) -> None:
        self.left = length
        self.done = length == 0
        self.surplus = b""

    def take(self, data: bytes) -> bytes:
        size = len(data)
        if size > self.left:
            data, self.surplus = data[: self.left], data[self.left :]
            size = self.left
        self.left -= size
        self.done = self.left == 0
        return data

    def finish(self) -> bytes:
        raise BodyError("the body is shorter than its length")


class ChunkedBody:
    """A chunked body, passed on as it is, or without its chunks for those who don't know them."""

    __slots__ = ("_scanner", "done", "surplus")

    def __init__(self, *, unwrap: bool = False, padded: bool = True, most: int = 0) -> None:
        self._scanner = ChunkScanner(collect=unwrap, padded=padded, most=most)
        self.done = False
        self.surplus = b""

    def take(self, data: bytes) -> bytes:
        try:
            size = self._scanner.feed(data)
        except TooMuchError as error:
            raise BodyTooLargeError(str(error)) from error
        except ChunkError as error:
            raise BodyError(str(error)) from error
        self.done = self._scanner.done
        if size != len(data):
            data, self.surplus = data[:size], data[size:]
        payload = self._scanner.payload
        if payload is None:
            return data
        data = b"".join(payload)
        payload.clear()
        return data

    def finish(self) -> bytes:
        raise BodyError("the body ended within its chunks")

    @property
    def trailers(self) -> list[bytes]:
        """The trailer fields, where the body is unwrapped and done."""
        return self._scanner.trailers or []


class UntilCloseBody:
    """A body that ends where its connection does; chunked on the way, where the client knows how."""

    __slots__ = ("_wrap", "done", "surplus")

    def __init__(self, *, wrap: bool) -> None:
        self._wrap = wrap
        self.done = False
        self.surplus = b""

    def take(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._wrap and data else data

    def finish(self) -> bytes:
        self.done = True
        return b"0\r\n\r\n" if self._wrap else b""


def request_body(length: int, most: int = 0) -> Body:
    """Follow the body of a request: a length or CHUNKED, then of at most `most` bytes if that is not 0."""
    return ChunkedBody(padded=False, most=most) if length == CHUNKED else CountedBody(length)


def response_body(length: int, *, http11: bool) -> Body:
    """Follow the body of a response to a client: a length, CHUNKED or UNTIL_CLOSE."""
    if length == CHUNKED:
        return ChunkedBody(unwrap=not http11)
    if length == UNTIL_CLOSE:
        return UntilCloseBody(wrap=http11)
    return CountedBody(length)
