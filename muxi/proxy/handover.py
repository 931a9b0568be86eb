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
from typing import TYPE_CHECKING

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.logging import Logger

from muxi.proxy.asgi_proxy import AsgiProxy
from muxi.proxy.engine import Engine
from muxi.proxy.session import RequestStream, SessionContext, WholeStream
from muxi.proxy.trust import asker

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
    """The app, for one session: tells the stream when its response has been sent whole.

    An event stream that the app sends has no end of its own. When the listener closes down it is
    ended there and then, as a whole response, for it would only use up the others' time.
    """

    def __init__(self, app: ASGIFramework, stream: RequestStream, client: Connection, address: str) -> None:
        self._app = app
        self._stream = stream
        self._client = client
        self._address = address
        self._half_sent = False

    async def __call__(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        sync_spawn: Callable[..., object],  # noqa: ARG002 - for WSGI
        call_soon: Callable[..., object],  # noqa: ARG002 - for WSGI
    ) -> None:
        if scope["type"] == "http":
            # Hypercorn knows the socket's address only; behind proxies that is not who asks.
            scope["client"] = (self._address, (scope["client"] or ("", 0))[1])

        async def send_and_tell(message: ASGISendEvent) -> None:
            if message["type"] != "http.response.body" or message.get("more_body", False):
                self._half_sent = True
                await send(message)
                self._half_sent = False
                if _begins_events(scope, message):
                    self._client.on_drain = until_drain.cancel
                return
            # Quart-Trio cancels itself while Hypercorn ends the response. The shield lets that
            # be finished; a client that stalls it is shut out by the write deadline.
            with trio.CancelScope(shield=True):
                await send(message)
            self._stream.complete()

        with trio.CancelScope() as until_drain:
            await self._app(scope, receive, send_and_tell)
        if until_drain.cancelled_caught and not self._half_sent:
            await send_and_tell({"type": "http.response.body", "body": b"", "more_body": False})


def _begins_events(scope: Scope, message: ASGISendEvent) -> bool:
    """Tell the head of an event stream that follows something from all else."""
    if message["type"] != "http.response.start" or scope["type"] != "http" or scope["method"] != "GET":
        return False
    headers = dict(message["headers"])
    return headers.get(b"content-type", b"").startswith(b"text/event-stream")


class Handover:
    """Serves requests, or whole HTTP/2 connections, by Hypercorn and an ASGI app."""

    def __init__(self, app: ASGIFramework) -> None:
        self._app = app
        self._config = _config(keep_alive=math.inf)
        self._whole_config = _config(keep_alive=60.0)
        # Flow control bounds what waits for an app, and no request may end the others': see `http2`.
        self._whole_config.max_app_queue_size = 1 << 30
        self._whole_config.keep_alive_max_requests = 1 << 31
        self._whole: dict[SessionContext, AsgiProxy] = {}

    def drain(self) -> None:
        """Ask connections that were handed over whole to end after their present requests."""
        for context, proxy in self._whole.items():
            context.terminate_now()
            proxy.drain()

    async def serve(self, client: Connection, head: RequestHead) -> bool:
        """Serve one request; tell whether the client's connection can go on."""
        context = SessionContext(None)
        stream = RequestStream(client, head, context)
        client.on_hangup(stream.hang_up)
        try:
            app = _OneRequest(self._app, stream, client, asker(client, head))
            clean = await self._contain(Engine(app, self._config, context, client, stream, http2=False))
        finally:
            client.on_drain = None
            client.on_hangup(None)
        if clean and stream.reusable and head.keep_alive and not client.context.closing:
            return True
        if not stream.body_read or (head.keep_alive and not client.context.closing):
            await client.linger()
        return False

    async def pass_through(self, client: Connection) -> None:
        """Give an HTTP/2 connection to Hypercorn to its end."""
        context = SessionContext(None)
        stream = WholeStream(client, context)
        proxy = self._whole[context] = AsgiProxy(client.context, self._app)
        app = ASGIWrapper(proxy)
        try:
            await self._contain(Engine(app, self._whole_config, context, client, stream, http2=True))
        finally:
            del self._whole[context]

    async def _contain(self, engine: Engine) -> bool:
        """Run a session; tell whether it ended without an exception escaping from it."""
        try:
            await engine.run()
        except Exception:  # noqa: BLE001 - one connection's failure must not be another's
            self._failed(engine.client)
        except BaseExceptionGroup as group:
            failures, others = group.split(Exception)
            if failures is not None:
                self._failed(engine.client)
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
    # The listener has bounded it: see `Limits.max_head`.
    config.h11_max_incomplete_size = 4 << 20
    return config
