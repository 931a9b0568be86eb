"""Requests that are not the proxy's, one at a time through Hypercorn to the ASGI app.

The listener has parsed the head, so it knows where the request ends. It gives Hypercorn a stream
that holds exactly this request, lets it write the response to the client, and ends the session
when the response is complete; so the connection comes back for the next request, and its idle
time is ours to watch (with Quart-Trio, Hypercorn forgets its own).

Hypercorn 0.18 lets exceptions of one connection escape into the server, from requests that anyone
can send. Each session is contained: logged, counted, and its connection closed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.logging import Logger
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.typing import LifespanState

from muxi.proxy.http1 import MAX_HEAD
from muxi.proxy.session import RequestStream, SessionContext, WholeStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypercorn.typing import (
        ASGIFramework,
        ASGIReceiveCallable,
        ASGISendCallable,
        ASGISendEvent,
        ResponseSummary,
        Scope,
        WWWScope,
    )

    from muxi.proxy.connection import Connection
    from muxi.proxy.heads import RequestHead

#: What TCPServer is given; it uses a few methods of it only, which the session's streams have.
Stream = trio.SSLStream[trio.SocketStream]

log = structlog.get_logger()


class _Log(Logger):
    """Hypercorn's log, in ours."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)

    async def access(self, request: WWWScope, response: ResponseSummary, request_time: float) -> None:
        """Leave it: the app audits its own requests."""

    async def exception(self, message: str, *args: object, **_: object) -> None:
        log.error("app_failed", exc_info=True, reason=message % args if args else message)  # noqa: LOG014 - called from handlers


class _OneRequest:
    """The app, for one session: tells the stream when its response has been sent whole."""

    def __init__(self, app: ASGIFramework, stream: RequestStream) -> None:
        self._app = app
        self._stream = stream

    async def __call__(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        sync_spawn: Callable[..., object],  # noqa: ARG002 - for WSGI
        call_soon: Callable[..., object],  # noqa: ARG002 - for WSGI
    ) -> None:
        async def send_and_tell(message: ASGISendEvent) -> None:
            if message["type"] != "http.response.body" or message.get("more_body", False):
                await send(message)
                return
            # Quart-Trio cancels itself while Hypercorn ends the response. The shield lets that
            # be finished; a client that stalls it is shut out by the write deadline.
            with trio.CancelScope(shield=True):
                await send(message)
            self._stream.complete()

        await self._app(scope, receive, send_and_tell)


class Handover:
    """Serves requests, or whole HTTP/2 connections, by Hypercorn and an ASGI app."""

    def __init__(self, app: ASGIFramework) -> None:
        self._app = app
        self._state = LifespanState({})
        self._config = _config(keep_alive=math.inf)
        self._whole_config = _config(keep_alive=60.0)
        self._whole: set[SessionContext] = set()

    def drain(self) -> None:
        """Ask connections that were handed over whole to end after their present requests."""
        for context in self._whole:
            context.terminate_now()

    async def serve(self, client: Connection, head: RequestHead) -> bool:
        """Serve one request; tell whether the client's connection can go on."""
        context = SessionContext(None)
        stream = RequestStream(client, head, context)
        client.on_hangup(stream.hang_up)
        try:
            app = _OneRequest(self._app, stream)
            server = TCPServer(app, self._config, context, self._state, cast("Stream", stream))
            clean = await self._contain(client, server)
        finally:
            client.on_hangup(None)
        if clean and stream.reusable and head.keep_alive and not client.context.draining:
            return True
        if head.keep_alive or not stream.body_read:
            await client.linger()
        return False

    async def pass_through(self, client: Connection) -> None:
        """Give a connection to Hypercorn to its end."""
        context = SessionContext(None)
        stream = cast("Stream", WholeStream(client, context))
        server = TCPServer(ASGIWrapper(self._app), self._whole_config, context, self._state, stream)
        self._whole.add(context)
        try:
            await self._contain(client, server)
        finally:
            self._whole.discard(context)

    async def _contain(self, client: Connection, server: TCPServer) -> bool:
        """Run a session; tell whether it ended without an exception escaping from it."""
        try:
            await server
        except Exception:  # noqa: BLE001 - one connection's failure must not be another's
            self._failed(client)
        except BaseExceptionGroup as group:
            failures, others = group.split(Exception)
            if failures is not None:
                self._failed(client)
            if others is not None:
                raise others from None
        else:
            return True
        return False

    def _failed(self, client: Connection) -> None:
        client.context.tally.contained += 1
        log.error("session_failed", peer=client.peer, exc_info=True)  # noqa: LOG014 - called from handlers


def _config(*, keep_alive: float) -> Config:
    config = Config()
    config.logger_class = _Log
    config.errorlog = None
    config.include_server_header = False
    config.keep_alive_timeout = keep_alive
    config.h11_max_incomplete_size = 2 * MAX_HEAD
    return config
