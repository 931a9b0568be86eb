"""HTTP/2 by Hypercorn, with what its 0.18 leaves open closed.

What differs from Hypercorn's own protocol class, each with its reason:

- Bodies are taken as fast as the app takes them, by flow control (RFC 9113 5.2). Hypercorn blocks
  the whole connection when one app is slow, its window updates and resets with it.
- A response waits for a client whose window is used up. Hypercorn lets the app write on and keeps
  what it wrote, as much as it likes.
- Data for a stream whose response is complete is refused by a reset without error (8.1); Hypercorn
  ends the connection with a KeyError, so one early answer would cut all other streams.
- A response that its app did not finish is reset; Hypercorn leaves the client waiting for ever.
- CONNECT, and so WebSockets (RFC 8441), is answered 501. Malformed requests are answered 400, and
  requests that are cancelled again and again end the connection (CVE-2023-44487).
- Interim responses can be sent: see `http2_stream.RequestInfo`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import structlog
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hypercorn.events import Closed, Updated
from hypercorn.protocol.events import Body, EndBody, Request, StreamClosed, Trailers
from hypercorn.protocol.h2 import (
    H2Protocol,
)
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.utils import filter_pseudo_headers
from priority.priority import DuplicateStreamError

from muxi.proxy.asgi_head import METHOD, TARGET, Fields, check_fields
from muxi.proxy.heads import HeadError
from muxi.proxy.http1 import MAX_HEAD
from muxi.proxy.http2_stream import Buffer, StreamApp

if TYPE_CHECKING:
    from h2.events import Event
    from hypercorn.events import Event as IOEvent
    from hypercorn.protocol.events import Event as StreamEvent

log = structlog.get_logger()

#: How much a client may send before the app has taken it: on one stream, on all of them.
STREAM_WINDOW: Final = 256 << 10
CONNECTION_WINDOW: Final = 1 << 20
INITIAL_WINDOW: Final = 65535
MAX_STREAMS: Final = 100
#: How many more requests a client may cancel than it lets be answered.
MAX_CANCELLED: Final = 500


class Http2(H2Protocol):
    """One client's HTTP/2 connection. The constructor is Hypercorn's."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        settings = {
            SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEAD,
            SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
        }
        self.connection.local_settings = Settings(client=False, initial_values=settings)
        #: Bytes that have come and which the app has not taken, by stream.
        self._untaken: dict[int, int] = {}
        #: Streams on which more of the request is to come.
        self._coming: set[int] = set()
        self._cancelled = 0

    async def initiate(self, headers: Fields | None = None, settings: bytes | None = None) -> None:
        await super().initiate(headers, settings)
        self.connection.increment_flow_control_window(CONNECTION_WINDOW - INITIAL_WINDOW)
        await self._flush()

    async def _handle_events(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, DataReceived):
                await self._take(event)
                continue
            if isinstance(event, StreamEnded | StreamReset):
                self._coming.discard(event.stream_id)
            if isinstance(event, StreamReset) and event.stream_id in self.streams:
                await self._count_cancelled()
            await super()._handle_events([event])
            if isinstance(event, RequestReceived) and self.idle:
                await self.send(Updated(idle=True))  # It was refused; the connection's time runs on.
        await self._flush()

    async def _take(self, event: DataReceived) -> None:
        stream_id, size = event.stream_id, len(event.data or b"")
        stream = self.streams.get(stream_id)
        if stream is None:
            self.connection.acknowledge_received_data(event.flow_controlled_length, stream_id)
            self._reset(stream_id, ErrorCodes.NO_ERROR)
            return
        self.connection.acknowledge_received_data(event.flow_controlled_length - size, stream_id)
        if size:
            self._untaken[stream_id] = self._untaken.get(stream_id, 0) + size
            await stream.handle(Body(stream_id, bytes(event.data or b"")))

    async def taken(self, stream_id: int, size: int) -> None:
        """Let the client send as much more: the app has taken it."""
        if stream_id in self._untaken:
            self._untaken[stream_id] -= size
            self.connection.acknowledge_received_data(size, stream_id)
            await self._flush()

    async def send_interim(self, stream_id: int, status: int, fields: Fields) -> None:
        """Send the head of an interim response (1xx); nothing if the stream has ended."""
        try:
            self.connection.send_headers(stream_id, [(b":status", b"%d" % status), *fields])
        except ProtocolError:
            return
        await self._flush()

    async def stream_send(self, event: StreamEvent) -> None:
        """Take what a stream's app sends. An end before that of the response becomes a reset."""
        stream_id = event.stream_id
        if isinstance(event, Trailers) and not event.headers:
            return  # They were announced and did not come; h2 can't write an empty block.
        if isinstance(event, StreamClosed):
            await self._end_stream(stream_id)
            return
        buffer = self.stream_buffers.get(stream_id)
        await super().stream_send(event)
        if isinstance(event, EndBody) and isinstance(buffer, Buffer):
            # Hypercorn goes on when the last byte has been taken, before the end has been written.
            await buffer.over.wait()

    async def _end_stream(self, stream_id: int) -> None:
        """End a stream. Its app is told last: it may cancel itself, and us, as soon as it knows."""
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self._cancelled = max(0, self._cancelled - 1)
            self._give_back(stream_id)
            if stream_id in self.stream_buffers:
                self._reset(stream_id, ErrorCodes.INTERNAL_ERROR)
                await self._window_updated(stream_id)
            if self.idle and self.context.terminated.is_set():
                self.connection.close_connection()
            await self._flush()
            await self.send(Updated(idle=self.idle))
            await stream.handle(StreamClosed(stream_id))
        await self.has_data.set()

    async def handle(self, event: IOEvent) -> None:
        """Take what comes from the connection. At its end, whoever waits to write is let go."""
        await super().handle(event)
        if isinstance(event, Closed):
            for buffer in tuple(self.stream_buffers.values()):
                await buffer.close()

    async def _send_data(self, stream_id: int) -> None:
        buffer = self.stream_buffers[stream_id]
        await super()._send_data(stream_id)
        if stream_id in self.stream_buffers:
            return
        if stream_id in self._coming:
            self._reset(stream_id, ErrorCodes.NO_ERROR)
            await self._flush()
        cast("Buffer", buffer).over.set()

    async def _close_stream(self, stream_id: int) -> None:
        self._give_back(stream_id)
        await super()._close_stream(stream_id)

    def _give_back(self, stream_id: int) -> None:
        """Free the connection's window, which is for all streams, of what nobody will take any more."""
        untaken = self._untaken.pop(stream_id, 0)
        if untaken:
            self.connection.acknowledge_received_data(untaken, stream_id)

    def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        self._coming.discard(stream_id)
        try:
            self.connection.reset_stream(stream_id, code)
        except ProtocolError:
            return  # It has ended by itself.

    async def _count_cancelled(self) -> None:
        self._cancelled += 1
        if self._cancelled == MAX_CANCELLED:
            log.warning("too_many_cancelled", peer=self.client and self.client[0])
            self.connection.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            await self._flush()
            await self.send(Closed())

    async def _create_stream(self, request: RequestReceived) -> None:
        stream_id, fields = request.stream_id, cast("Fields", request.headers or [])
        pseudo = {name: value for name, value in fields if name.startswith(b":")}
        method, target = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
        ended = request.stream_ended is not None
        plain = filter_pseudo_headers(fields)
        try:
            if method == b"CONNECT":
                raise HeadError(501, "CONNECT is not known here")
            if METHOD.fullmatch(method) is None or TARGET.fullmatch(target) is None:
                raise HeadError(400, "the request line is malformed")
            check_fields(plain)
        except HeadError as error:
            await self._refuse(stream_id, error.status, ended=ended)
            return
        if not ended:
            self._coming.add(stream_id)
        app = StreamApp(self, stream_id, target, ended=ended)
        stream = self.streams[stream_id] = self._new_stream(stream_id, app)
        await stream.handle(
            Request(stream_id, plain, "2", method.decode("ascii"), target, self.connection_state)
        )

    def _new_stream(self, stream_id: int, app: StreamApp) -> HTTPStream:
        stream = HTTPStream(
            app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            stream_id,
        )
        self.stream_buffers[stream_id] = Buffer()
        try:
            self.priority.insert_stream(stream_id)
        except DuplicateStreamError:
            return stream  # A PRIORITY frame came before.
        self.priority.block(stream_id)
        return stream

    async def _refuse(self, stream_id: int, status: int, *, ended: bool) -> None:
        self.connection.send_headers(stream_id, [(b":status", b"%d" % status)], end_stream=True)
        if not ended:
            self._reset(stream_id, ErrorCodes.NO_ERROR)
        await self._flush()
