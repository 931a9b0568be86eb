"""What is known of a request or a response once its head has been read."""

from __future__ import annotations

from typing import Final

#: Values of `length` beside a count of bytes.
CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2


class HeadError(Exception):
    """A head that can't be served; `status` is the answer and `reason` what is wrong with it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class RequestHead:
    """A request's head. `fields` are the lines to pass on, framing among them, without Host.

    `length` is the body's in bytes (0: none), or CHUNKED. `size` is how many bytes the head took.
    `forwarded_*` and `request_id` are as the client sent them: trusted or not, not for us to say.
    """

    __slots__ = (
        "fields",
        "forwarded_for",
        "forwarded_host",
        "forwarded_proto",
        "host",
        "http11",
        "keep_alive",
        "length",
        "method",
        "request_id",
        "size",
        "target",
        "upgrade",
    )

    def __init__(self, method: bytes, target: bytes, http11: bool, size: int) -> None:
        self.method = method
        self.target = target
        self.http11 = http11
        self.keep_alive = http11
        self.size = size
        self.length = 0
        self.host = b""
        self.fields: list[bytes] = []
        self.upgrade: bytes | None = None
        self.forwarded_for: bytes | None = None
        self.forwarded_host: bytes | None = None
        self.forwarded_proto: bytes | None = None
        self.request_id: bytes | None = None


class ResponseHead:
    """A response's head. `status_line` is what follows the version: `200 OK`.

    `fields` are the lines to pass on; of the framing only a Content-Length is among them.
    `length` is the body's in bytes, CHUNKED or UNTIL_CLOSE; already 0 where there can be no body.
    """

    __slots__ = ("fields", "http11", "keep_alive", "length", "size", "status", "status_line")

    def __init__(self, status: int, status_line: bytes, http11: bool, size: int) -> None:
        self.status = status
        self.status_line = status_line
        self.http11 = http11
        self.keep_alive = http11
        self.size = size
        self.length = UNTIL_CLOSE
        self.fields: list[bytes] = []
