"""A formation that records what reaches it, as the strictest reader at hand (h11) understands it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import h11

if TYPE_CHECKING:
    from tests.proxy.house import Wire

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nseen"
MAX_HEAD = 128 << 10


class Request(NamedTuple):
    """A request as a reader understood it, the body without its framing."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Reader:
    """Requests in a row of bytes, as h11 sees them."""

    def __init__(self) -> None:
        #: Heads that came whole.
        self.heads = 0
        self._begin(b"")

    def _begin(self, data: bytes) -> None:
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._head: h11.Request | None = None
        self._body = b""
        if data:
            self._parser.receive_data(data)

    @property
    def within(self) -> bool:
        """Whether a request has begun and has not ended."""
        return self._head is not None or bool(self._parser.trailing_data[0])

    def feed(self, data: bytes) -> None:
        self._parser.receive_data(data)

    def read(self) -> Request | None:
        """The next whole request; None while more is needed. Raises h11.RemoteProtocolError."""
        while True:
            event = self._parser.next_event()
            if isinstance(event, h11.Request):
                self.heads += 1
                self._head = event
            elif isinstance(event, h11.Data):
                self._body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return self._end()
            else:
                return None

    def _end(self) -> Request:
        head = self._head
        assert head is not None
        request = Request(head.method, head.target, tuple(head.headers), self._body)
        self._begin(self._parser.trailing_data[0])
        return request


@dataclass
class Recorder:
    """The script of a formation; answers each request that came whole."""

    #: The bytes of each connection, by order of their coming.
    raw: list[bytearray] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    #: What h11 would not take.
    errors: list[str] = field(default_factory=list)

    def forget(self) -> None:
        """Begin anew."""
        self.raw.clear()
        self.requests.clear()
        self.errors.clear()

    async def __call__(self, wire: Wire) -> None:
        raw, reader = bytearray(), Reader()
        self.raw.append(raw)
        while data := await wire.receive():
            raw += data
            reader.feed(data)
            try:
                while request := reader.read():
                    self.requests.append(request)
                    await wire.send(ANSWER)
            except h11.RemoteProtocolError as error:
                self.errors.append(f"{error} in {bytes(raw)!r}")
                return


def parse_all(data: bytes) -> list[Request] | None:
    """The requests in `data` as h11 sees them; None if it refuses any, or misses the end of one."""
    reader, requests = Reader(), []
    reader.feed(data)
    try:
        while request := reader.read():
            requests.append(request)
    except h11.RemoteProtocolError:
        return None
    return None if reader.within else requests
