"""Streams for Hypercorn: one that holds a single request, one that is the whole connection."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, cast

import trio
from hypercorn.trio.worker_context import WorkerContext

from muxi.proxy.bodies import BodyError, request_body
from muxi.proxy.headers import management_head, with_reason

if TYPE_CHECKING:
    from muxi.proxy.connection import Connection
    from muxi.proxy.heads import RequestHead


class SessionContext(WorkerContext):
    """Hypercorn's view of the server it runs in; for us, of one session."""

    def terminate_now(self) -> None:
        """End the session once nothing is under way in it."""
        # EventWrapper.set() is a coroutine for asyncio's sake only.
        cast("trio.Event", self.terminated._event).set()  # type: ignore[attr-defined]  # noqa: SLF001


class RequestStream:
    """Reads as one request and then waits; ends when the response is complete or the client has left.

    The client's socket is never closed from here, and no byte after the request is taken from it
    for good: what was read too far goes back to the connection's buffer.
    """

    def __init__(self, client: Connection, head: RequestHead, context: SessionContext) -> None:
        self.socket = client.sock
        self.reusable = False
        self._client = client
        self._context = context
        self._first = management_head(head)
        self._body = request_body(head.length)
        self._over = trio.Event()
        self._closed = False
        self._malformed = False

    @property
    def body_read(self) -> bool:
        """Whether the whole request has been read from the client."""
        return self._body.done

    def hang_up(self) -> None:
        """Say that the client has left: the app is told once the request has been read."""
        self._over.set()

    def complete(self) -> None:
        """Say that the response has been sent whole; the session is to end.

        If Hypercorn has closed the stream by now, it did not think the connection could go on.
        """
        self.reusable = not self._closed and self._body.done and not self._over.is_set()
        self._over.set()
        self._context.terminate_now()

    async def receive_some(self, max_bytes: int) -> bytes:
        if self._closed:
            raise trio.ClosedResourceError
        if self._first:
            data, self._first = self._first, b""
            return data + self._buffered()
        if self._malformed:
            return b""
        if not self._body.done:
            return await self._read_body(max_bytes)
        await self._over.wait()
        return b""

    def _buffered(self) -> bytes:
        """Give what came in of the body with the head."""
        data, self._client.buffer = self._client.buffer, b""
        return self._take(data)

    def _take(self, data: bytes) -> bytes:
        if self._body.done:
            self._client.buffer = data
            return b""
        try:
            data = self._body.take(data)
        except BodyError:
            # An end within the body makes h11 answer 400 and Hypercorn close.
            self._malformed = True
            return b""
        self._client.buffer = self._body.surplus
        return data

    async def _read_body(self, max_bytes: int) -> bytes:
        try:
            return self._take(await self._client.read_body(max_bytes))
        except OSError as error:
            raise trio.BrokenResourceError from error

    async def send_all(self, data: bytes) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        if not self._client.status:
            # People read the status line, and some clients show it; Hypercorn leaves it bare.
            data = with_reason(data)
            self._client.status = 200
        try:
            await self._client.send(data)
        except OSError as error:
            raise trio.BrokenResourceError from error

    async def send_eof(self) -> None:
        self._end()

    async def aclose(self) -> None:
        self._end()

    def _end(self) -> None:
        self._closed = True
        self._over.set()
        # Where h11 refuses the head there is no response to be complete, and nothing else ends the session.
        self._context.terminate_now()


class WholeStream:
    """The connection itself, beginning with the bytes that were read ahead."""

    def __init__(self, client: Connection, context: SessionContext) -> None:
        self.socket = client.sock
        self._client = client
        self._context = context
        self._closed = False

    async def receive_some(self, max_bytes: int) -> bytes:
        if self._closed:
            raise trio.ClosedResourceError
        data, self._client.buffer = self._client.buffer, b""
        if data:
            return data
        try:
            data = await self._read(max_bytes)
        except OSError as error:
            self._context.terminate_now()
            raise trio.BrokenResourceError from error
        if not data:
            # Else Hypercorn would keep the session for its keep-alive time after the client has left.
            self._context.terminate_now()
        return data

    async def _read(self, max_bytes: int) -> bytes:
        while True:
            try:
                return self.socket.recv(max_bytes)
            except BlockingIOError:
                pass
            await trio.lowlevel.wait_readable(self._client.fd)

    async def send_all(self, data: bytes) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        try:
            await self._client.send(data)
        except OSError as error:
            raise trio.BrokenResourceError from error

    async def send_eof(self) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Shut the socket, which wakes a reader; the connection closes it."""
        self._closed = True
        self._context.terminate_now()
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return
