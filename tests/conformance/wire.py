"""Requests as bytes, and their answers read as strictly as the Go clients read them."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DEADLINE = 60.0

Headers = list[tuple[str, str]]
Shape = dict[str, Any]
"""Field → `int`, `str` or `bool` as Go declares it, another shape, or a one-element list of either."""


@dataclass(frozen=True)
class Answer:
    """What came back; `events` of a stream, whose JSON is in their data."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        """Unwrap the envelope as Go does: `success` must be true, whatever the status."""
        envelope = self.json
        assert envelope["success"] is True
        return envelope["data"]

    @property
    def events(self) -> list[tuple[str, Any]]:
        assert self.headers["content-type"].partition(";")[0] == "text/event-stream"
        return list(events(self.body.decode().splitlines(keepends=True)))


def request(method: str, target: str, headers: Headers, body: bytes = b"") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(body: bytes, size: int = 32 * 1024) -> bytes:
    """Frame a body as Go does that of an open file: chunks of its copy buffer's size."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def connect(url: str) -> socket.socket:
    host, _, port = urlsplit(url).netloc.partition(":")
    return socket.create_connection((host, int(port)), timeout=DEADLINE)


def exchange(url: str, raw: bytes) -> Answer:
    """Send one request on a connection of its own, and read its answer to the end."""
    with closing(connect(url)) as sock:
        sock.sendall(raw)
        return read_answer(sock, raw.split(b" ", 1)[0].decode())


def read_answer(sock: socket.socket, method: str = "GET") -> Answer:
    response = http.client.HTTPResponse(sock, method=method)
    response.begin()
    with response:
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())


def events(lines: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Read server-sent events as the CLI does, which keeps the last `data:` line of each.

    What it would lose or ignore fails here: an event without a name, with two data lines, or
    without the blank line that ends it.
    """
    name, data = "", ""
    for line in lines:
        assert line.endswith("\n")
        text = line.rstrip("\r\n")
        if text.startswith("event: "):
            name = text.removeprefix("event: ")
        elif text.startswith("data: "):
            assert not data, "a second data line"
            data = text.removeprefix("data: ")
        elif text:
            assert text.startswith(":"), text
        elif data:
            assert name, f"an event without a name: {data}"
            yield name, json.loads(data)
            name, data = "", ""
    assert not data, "the last event is not ended by a blank line"


def decode(value: object, shape: object, where: str = "data") -> None:
    """Fail as Go's encoding/json would on a field of another type, and where a field is missing."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), f"{where}: an object is wanted, not {value!r}"
        for name, inner in shape.items():
            assert name in value, f"{where}.{name} is missing"
            decode(value[name], inner, f"{where}.{name}")
    elif isinstance(shape, list):
        assert isinstance(value, list), f"{where}: a list is wanted, not {value!r}"
        for number, item in enumerate(value):
            decode(item, shape[0], f"{where}[{number}]")
    else:
        assert type(value) is shape, f"{where}: {shape} is wanted, not {value!r}"
