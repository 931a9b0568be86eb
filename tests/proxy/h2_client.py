"""An HTTP/2 client for tests: one task, every wait with a limit, and nothing checked that is sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events
import trio

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 20
Pairs = list[tuple[bytes, bytes]]


@dataclass
class H2Stream:
    """What has come on one stream."""

    interim: list[int] = field(default_factory=list)
    status: int = 0
    headers: Pairs = field(default_factory=list)
    body: bytes = b""
    trailers: Pairs | None = None
    ended: bool = False
    reset: int | None = None

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None

    def header(self, name: bytes) -> bytes | None:
        values = [value for key, value in self.headers if key == name]
        assert len(values) < 2, f"{name!r} more than once"
        return values[0] if values else None


class H2Client:
    """`greedy`: what comes is acknowledged at once, so that more can come."""

    def __init__(self, stream: trio.abc.Stream, *, scheme: bytes = b"http", greedy: bool = True) -> None:
        self.stream = stream
        self.scheme = scheme
        self.greedy = greedy
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.h2 = h2.connection.H2Connection(config)
        self.streams: dict[int, H2Stream] = {}
        self.closed = False
        self.goaway: int | None = None

    async def start(self) -> None:
        self.h2.initiate_connection()
        await self.flush()

    async def flush(self) -> None:
        data = self.h2.data_to_send()
        if data and not self.closed:
            with trio.fail_after(PATIENCE):
                await self.stream.send_all(data)

    async def begin(
        self,
        path: bytes,
        *extra: tuple[bytes, bytes],
        method: bytes = b"GET",
        end: bool = True,
        authority: bytes = b"pub.example:7890",
    ) -> int:
        """Send a request's head; gives its stream's number."""
        number = self.h2.get_next_available_stream_id()
        pseudo = [
            (b":method", method),
            (b":path", path),
            (b":scheme", self.scheme),
            (b":authority", authority),
        ]
        self.streams[number] = H2Stream()
        self.h2.send_headers(number, [*pseudo, *extra], end_stream=end)
        await self.flush()
        return number

    async def send(self, number: int, data: bytes, *, end: bool = False) -> None:
        """Send a part of a body, as flow control lets it go."""
        if end and not data:
            self.h2.end_stream(number)
            await self.flush()
        while data:
            size = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size, len(data))
            if size == 0:
                await self.pump()
                continue
            self.h2.send_data(number, data[:size], end_stream=end and size == len(data))
            data = data[size:]
            await self.flush()

    async def cancel(self, number: int) -> None:
        self.h2.reset_stream(number, 8)
        await self.flush()

    async def pump(self) -> None:
        """Take what comes next."""
        with trio.fail_after(PATIENCE):
            try:
                data = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                data = b""
        if not data:
            self.closed = True
            return
        for event in self.h2.receive_data(data):
            self._note(event)
        await self.flush()

    def _note(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = int(event.error_code or 0)
            return
        number = getattr(event, "stream_id", None)
        stream = self.streams.get(number) if number is not None else None
        if stream is None or number is None:
            return
        if isinstance(event, h2.events.InformationalResponseReceived):
            stream.interim.append(int(dict(event.headers)[b":status"]))
        elif isinstance(event, h2.events.ResponseReceived):
            stream.status = int(dict(event.headers)[b":status"])
            stream.headers = [(bytes(key), bytes(value)) for key, value in event.headers if key[:1] != b":"]
        elif isinstance(event, h2.events.DataReceived):
            stream.body += event.data
            if self.greedy:
                self.h2.acknowledge_received_data(event.flow_controlled_length, number)
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers = [(bytes(key), bytes(value)) for key, value in event.headers]
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset):
            stream.reset = int(event.error_code)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            assert not self.closed, "the connection ended before that"
            await self.pump()

    async def reply(self, number: int) -> H2Stream:
        """The whole response on a stream, or its reset."""
        stream = self.streams[number]
        await self.until(lambda: stream.over)
        return stream

    async def ask(self, path: bytes, *extra: tuple[bytes, bytes], method: bytes = b"GET") -> H2Stream:
        return await self.reply(await self.begin(path, *extra, method=method))

    async def gone(self) -> None:
        """Wait until the server has closed."""
        while not self.closed:
            await self.pump()
