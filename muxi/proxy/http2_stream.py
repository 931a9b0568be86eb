"""What belongs to one HTTP/2 stream: the app as the stream calls it, and what waits to be sent on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

import trio
from hypercorn.protocol.h2 import BUFFER_HIGH_WATER, BUFFER_LOW_WATER, BufferCompleteError, StreamBuffer
from hypercorn.trio.worker_context import EventWrapper

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hypercorn.typing import ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, HTTPScope, Scope

    from muxi.proxy.asgi_head import Fields
    from muxi.proxy.http2 import Http2

#: Where an app finds `RequestInfo` in its scope's extensions.
EXTENSION: Final = "muxi.request"


class RequestInfo(NamedTuple):
    """What ASGI does not say of a request.

    Its target byte for byte, whether it is without a body, and a way to send interim responses.
    """

    target: bytes
    ended: bool
    interim: Callable[[int, Fields], Awaitable[None]]


class StreamApp:
    """The app as one stream calls it: what it takes of the body may be sent again by the client."""

    def __init__(self, protocol: Http2, stream_id: int, target: bytes, *, ended: bool) -> None:
        self._protocol = protocol
        self._stream_id = stream_id
        self._target = target
        self._ended = ended

    async def __call__(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        sync_spawn: Callable[..., object],
        call_soon: Callable[..., object],
    ) -> None:
        async def take() -> ASGIReceiveEvent:
            message = await receive()
            if message["type"] == "http.request" and message["body"]:
                await self._protocol.taken(self._stream_id, len(message["body"]))
            return message

        async def interim(status: int, fields: Fields) -> None:
            await self._protocol.send_interim(self._stream_id, status, fields)

        extensions = cast("HTTPScope", scope)["extensions"]
        extensions[EXTENSION] = cast("dict[object, object]", RequestInfo(self._target, self._ended, interim))
        await self._protocol.app(scope, take, send, sync_spawn, call_soon)


class Buffer(StreamBuffer):
    """What an app has written on one stream and the client has not let go out.

    `over` is set once the end of the stream has been written, or it is known that it won't be.
    """

    def __init__(self) -> None:
        super().__init__(EventWrapper)
        self.over = trio.Event()

    async def close(self) -> None:
        await super().close()
        self.over.set()

    async def push(self, data: bytes) -> None:
        if self._complete:
            raise BufferCompleteError
        self.buffer.extend(data)
        await self._is_empty.clear()
        if len(self.buffer) >= BUFFER_HIGH_WATER:
            await self._paused.clear()
            await self._paused.wait()

    async def pop(self, max_length: int) -> bytes:
        data = bytes(self.buffer[:max_length])
        del self.buffer[:max_length]
        if len(self.buffer) < BUFFER_LOW_WATER:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data
