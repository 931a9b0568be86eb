"""What is known of a request or a response once its head has been read."""

from __future__ import annotations

from typing import Final

#: Values of `length` beside a count of bytes.
CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2


#: The status of what is no request at all, and to be closed without an answer: TLS, on a plain port.
NOT_HTTP: Final = 0


class HeadError(Exception):
    """A head that can't be served; `status` is the answer and `reason` what is wrong with it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class RequestHead:
    """A request's head. `fields` are the lines to pass on, framing among them, without Host.

    `length` is the body's in bytes (0: none), or CHUNKED. `size` is how many bytes the head took.
    `forwarded*` and `request_id` are as the client sent them: trusted or not, not for us to say.
    `traced`: a valid traceparent is among the fields. `begun` is when its way to a formation began,
    on the clock of `time.perf_counter`.
    """

    __slots__ = (
        "begun",
        "fields",
        "forwarded",
        "forwarded_for",
        "forwarded_host",
        "forwarded_port",
        "forwarded_proto",
        "host",
        "http11",
        "keep_alive",
        "length",
        "method",
        "request_id",
        "sdk",
        "size",
        "target",
        "trace_state",
        "traced",
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
        self.forwarded: bytes | None = None
        self.forwarded_for: bytes | None = None
        self.forwarded_port: bytes | None = None
        self.forwarded_host: bytes | None = None
        self.forwarded_proto: bytes | None = None
        self.request_id: bytes | None = None
        self.sdk: bytes | None = None
        self.traced = False
        self.trace_state: list[bytes] | None = None
        self.begun = 0.0


class ResponseHead:
    """A response's head. `status_line` is what follows the version: `200 OK`.

    `fields` are the lines to pass on; of the framing only a Content-Length is among them.
    `length` is the body's in bytes, CHUNKED or UNTIL_CLOSE; already 0 where there can be no body.
    Noted of the fields: `relocates` if one is a Location, `allows_origin` if the formation says who
    may read the response, `has_id` if it names the request.
    """

    __slots__ = (
        "allows_origin",
        "fields",
        "has_id",
        "http11",
        "keep_alive",
        "length",
        "relocates",
        "size",
        "status",
        "status_line",
    )

    def __init__(self, status: int, status_line: bytes, http11: bool, size: int) -> None:
        self.status = status
        self.status_line = status_line
        self.http11 = http11
        self.keep_alive = http11
        self.size = size
        self.length = UNTIL_CLOSE
        self.allows_origin = False
        self.has_id = False
        self.relocates = False
        self.fields: list[bytes] = []
