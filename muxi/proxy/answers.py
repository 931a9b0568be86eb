"""The proxy's own answers: prepared bytes where they never change, one JSON shape for all errors.

The shape suits every client family: `error` is an object for those that speak to formations, and
`message` and `code` stand at the top for those that look there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

CODES: Final = {
    400: "BAD_REQUEST",
    408: "REQUEST_TIMEOUT",
    413: "CONTENT_TOO_LARGE",
    414: "URI_TOO_LONG",
    429: "TOO_MANY_REQUESTS",
    431: "HEADERS_TOO_LARGE",
    501: "NOT_IMPLEMENTED",
    502: "BAD_GATEWAY",
    504: "GATEWAY_TIMEOUT",
    505: "HTTP_VERSION_NOT_SUPPORTED",
}
#: Seconds until a client should try again when a formation is not running.
RETRY_AFTER: Final = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """An error: what the client is told. `retry_after` in whole seconds."""

    status: int
    message: str
    code: str = ""
    retry_after: int | None = None

    def body(self) -> bytes:
        """Give the JSON object, with everything escaped that a client sent."""
        code = self.code or CODES.get(self.status, "ERROR")
        content = {
            "success": False,
            "error": {"code": code, "message": self.message},
            "message": self.message,
            "code": self.status,
            "data": {},
        }
        return json.dumps(content).encode()

    def render(
        self, date: bytes, *, keep_alive: bool, with_body: bool = True, request_id: bytes | None = None
    ) -> bytes:
        """Give the whole response; without its body for HEAD."""
        body = self.body()
        head = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            f"Date: {date.decode()}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Access-Control-Allow-Origin: *",
            f"Connection: {'keep-alive' if keep_alive else 'close'}",
        ]
        if self.retry_after is not None:
            head.append(f"Retry-After: {self.retry_after}")
        if request_id is not None:
            head.append(f"X-Request-ID: {request_id.decode('ascii')}")
        return "\r\n".join(head).encode() + b"\r\n\r\n" + (body if with_body else b"")


def unknown(formation_id: str, *, draft: bool) -> Answer:
    """404: there is no such formation."""
    noun = "draft formation" if draft else "formation"
    return Answer(404, f"No {noun} with id '{formation_id}'", "FORMATION_NOT_FOUND")


def unavailable(formation_id: str, state: str, *, draft: bool) -> Answer:
    """503: it exists, but nothing there can answer now."""
    noun = "Draft formation" if draft else "Formation"
    message = f"{noun} '{formation_id}' is not running (status: {state})"
    return Answer(503, message, "FORMATION_UNAVAILABLE", RETRY_AFTER)


def no_response(*, draft: bool) -> Answer:
    """502: it can't be reached, or did not answer properly."""
    noun = "Draft formation" if draft else "Formation"
    return Answer(502, f"{noun} did not respond")


def pong(date: bytes, *, keep_alive: bool) -> bytes:
    """Answer `GET /ping`."""
    return (
        b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n"
        b"Access-Control-Allow-Origin: *\r\nConnection: %b\r\n\r\npong"
        % (date, b"keep-alive" if keep_alive else b"close")
    )
