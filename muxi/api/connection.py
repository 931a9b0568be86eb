"""Between the ASGI server and Quart: the path, the body's back-pressure, the record of the request.

`TrioASGIHTTPConnection` runs two tasks, one that receives and one that answers; each ends the
other. A client that leaves therefore cancels the handler that answers it, and nothing else:
operations run in their formation's task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import structlog
import trio
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioRequest

from muxi.api.answers import failure
from muxi.api.body import BoundedBody
from muxi.api.exchange import Exchange
from muxi.errors import InternalError

if TYPE_CHECKING:
    from hypercorn.typing import (
        ASGIReceiveCallable,
        ASGISendCallable,
        ASGISendEvent,
        HTTPScope,
    )
    from quart.typing import ResponseTypes
    from quart.wrappers import Request

    from muxi.api.app import ApiApp

_log = structlog.get_logger()

_LINGER = 2.0


class ApiRequest(TrioRequest):
    """A request whose body waits for its reader."""

    body_class = BoundedBody  # type: ignore[assignment]


class ApiConnection(TrioASGIHTTPConnection):
    """One request of the ASGI server, from its head to its last byte."""

    app: ApiApp

    def __init__(self, app: ApiApp, scope: HTTPScope) -> None:
        # A client whose base URL ends in "/" asks for "//ping"; what it signs is the raw path.
        scope["path"] = "/" + scope["path"].lstrip("/")
        self.exchange = Exchange.begin(scope)
        self._ending = False
        super().__init__(app, scope)

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        with self.exchange.bound():
            try:
                async with self.exchange.resources:
                    await super().__call__(receive, self._noting(send))
            finally:
                self.app.note(self.exchange)

    async def handle_messages(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, receive: ASGIReceiveCallable
    ) -> None:
        body = cast("BoundedBody", request.body)
        while True:
            message = await receive()
            if message["type"] == "http.request":
                await body.feed(message.get("body", b""))
                if not message.get("more_body", False):
                    body.set_complete()
            elif message["type"] == "http.disconnect":
                break
        # Hypercorn says "disconnect" also from within the last `send`, where it closes the
        # connection; cancelling that would leave it half closed, with a client that waits.
        if not self._ending:
            nursery.cancel_scope.cancel()

    async def handle_request(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, send: ASGISendCallable
    ) -> None:
        response = await self._response(request)
        try:
            await self._send_response(self._lingering(send, cast("BoundedBody", request.body)), response)
        except Exception:
            _log.exception("answer was cut off")  # its head is out: all that's left is to hang up
            raise
        nursery.cancel_scope.cancel()

    async def _response(self, request: Request) -> ResponseTypes:
        try:
            return await self.app.handle_request(request)
        except Exception:  # noqa: BLE001 - the last place where a client can be told
            _log.exception("request failed")
            error = InternalError("The server failed while answering; its log has the details.")
            return failure(error, self.exchange.request_id)

    def _noting(self, send: ASGISendCallable) -> ASGISendCallable:
        """Take down the status, and give the answer the request's id."""

        async def noting(message: ASGISendEvent) -> None:
            if message["type"] == "http.response.start":
                self.exchange.status = self.exchange.status or message["status"]
                request_id = (b"x-request-id", self.exchange.request_id.encode())
                message["headers"] = [*message["headers"], request_id]
            await send(message)

        return noting

    def _lingering(self, send: ASGISendCallable, body: BoundedBody) -> ASGISendCallable:
        """Before an answer is complete, take the rest of the request's body for a while.

        The answer's bytes are out by then, and a client that uploads can read them: closing at
        once would reset the connection under it, and it would see no answer (RFC 9112, section 9.6).
        """

        async def lingering(message: ASGISendEvent) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                with trio.move_on_after(_LINGER):
                    await body.discard_rest()
                self._ending = True
            await send(message)

        return lingering
