"""The proxy as an ASGI app: the way in for whatever does not speak HTTP/1.1 on a socket of its own.

There is one seam to the forwarding code, and it is the simplest that there could be: HTTP/1.1 on a
socket. Each request is written to one end of a pair of sockets, and a `Connection` like any other
serves the other end: with the same head policy, limits, holding, retries, deadlines and accounting,
with backpressure from the kernel and with the client's leaving seen as a close. The pair costs two
descriptors, a copy and some system calls: little beside the server above it (Hypercorn).
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final, cast

import structlog
import trio

from muxi.proxy.answers import RETRY_AFTER, Answer
from muxi.proxy.asgi_exchange import Exchange, raw_target, send_answer
from muxi.proxy.connection import Connection
from muxi.proxy.paths import find_place

if TYPE_CHECKING:
    from hypercorn.typing import (
        ASGIFramework,
        ASGIReceiveCallable,
        ASGISendCallable,
        ASGISendEvent,
        HTTPScope,
        Scope,
    )

    from muxi.proxy.context import Context

log = structlog.get_logger()

EXHAUSTED: Final = Answer(503, "The server is at its limit", "SERVER_BUSY", RETRY_AFTER)


class StreamConnection(Connection):
    """The forwarding side of one request: a connection from within, in the client's name."""

    __slots__ = ()
    outside = False

    def __init__(self, context: Context, sock: socket.socket, peer: str, scheme: str) -> None:
        super().__init__(context, sock, peer)
        self.scheme = scheme.encode()

    def watch(self) -> None:
        self.context.poller.watch(self.fd, self)


class AsgiProxy:
    """Serves the proxy's paths, and gives all else to `app`; for one client's connection.

    A client that takes nothing of a response for too long is cut off from that response.
    """

    def __init__(self, context: Context, app: ASGIFramework) -> None:
        self._context = context
        self._app = app
        self._endless: set[trio.CancelScope] = set()

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        proxied = scope["type"] == "http" and find_place(self._context.routes, raw_target(scope)) is not None
        with trio.CancelScope() as cut:

            async def send_in_time(message: ASGISendEvent) -> None:
                with trio.move_on_after(self._context.limits.write_stall_timeout) as patience:
                    await send(message)
                if patience.cancelled_caught:
                    cut.cancel()
                    await trio.lowlevel.checkpoint()
                if not proxied and _begins_events(message):
                    self._endless.add(cut)

            try:
                if proxied:
                    await self._forward(cast("HTTPScope", scope), receive, send_in_time)
                else:
                    await self._app(scope, receive, send_in_time)
            finally:
                self._endless.discard(cut)

    def drain(self) -> None:
        """End the app's own event streams: they have no end, and would use up the time of others."""
        for cut in self._endless:
            cut.cancel()

    async def _forward(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            log.error("stream_refused", reason=error.strerror)
            await send_answer(send, EXHAUSTED)
            return
        if not self._context.doorman.has_room(max(ours.fileno(), theirs.fileno())):
            # As with connections, the last descriptors are for those who are in.
            ours.close()
            theirs.close()
            self._context.tally.refused_requests += 1
            await send_answer(send, EXHAUSTED)
            return
        peer = scope["client"][0] if scope["client"] else ""
        inner = StreamConnection(self._context, ours, peer, scope["scheme"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inner.run)
            # Closing this end is the client's leaving: what that means is the formation's policy.
            with theirs:
                theirs.setblocking(False)
                await Exchange(theirs, scope, receive, send).run()


def _begins_events(message: ASGISendEvent) -> bool:
    if message["type"] != "http.response.start":
        return False
    return dict(message["headers"]).get(b"content-type", b"").startswith(b"text/event-stream")
