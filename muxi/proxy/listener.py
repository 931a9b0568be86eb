"""The public socket: accepts, starts one task a connection, closes down in good order.

The one who opened the listening sockets closes them: after `drain` they still hold what waits in
their backlog, which a successor in the same process (an upgrade by `exec`) will serve.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import structlog
import trio

from muxi.proxy.connection import Connection
from muxi.proxy.context import Context, Served, Tally
from muxi.proxy.deadlines import Clock, sweep
from muxi.proxy.handover import Handover
from muxi.proxy.hangup import Hangups
from muxi.proxy.limits import Limits
from muxi.proxy.upstream import Upstreams

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from hypercorn.typing import ASGIFramework

    from muxi.registry.routes import RouteTable

log = structlog.get_logger()

#: Out of descriptors or of kernel memory: it passes when connections end.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
#: Connections accepted before others get a turn.
ACCEPT_BATCH = 64


def trust_nobody(_peer: str) -> bool:
    """Believe no peer's forwarding headers: the default."""
    return False


class Listener:
    """Serves HTTP on listening sockets: the proxy's paths itself, all else through an ASGI app.

    `version` is sent to formations as `X-Muxi-Server`; `trusts(address)` says whether a peer's
    forwarding headers are believed; `on_request` is called after each proxied request, on the
    event loop, and must be quick.
    """

    def __init__(
        self,
        routes: RouteTable,
        app: ASGIFramework,
        *,
        version: str,
        limits: Limits | None = None,
        trusts: Callable[[str], bool] = trust_nobody,
        on_request: Callable[[Served], None] | None = None,
    ) -> None:
        clock, limits = Clock(), limits or Limits()
        self._context = Context(
            routes=routes,
            upstreams=Upstreams(clock, limits.connect_timeout),
            handover=Handover(app),
            clock=clock,
            hangups=Hangups(),
            limits=limits,
            version=version.encode("ascii"),
            trusts=trusts,
            on_request=on_request,
        )
        self._accepting = trio.CancelScope()
        self._drained = trio.Event()
        self._ended = trio.Event()

    @property
    def tally(self) -> Tally:
        """Live counts; read them, don't write."""
        return self._context.tally

    @property
    def open_connections(self) -> int:
        """How many clients are connected now."""
        return len(self._context.connections)

    async def serve(
        self,
        sockets: Sequence[socket.socket],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `drain` has ended or the caller cancels; the sockets stay open.

        Started (`nursery.start`) once connections are being accepted. A listener serves once.
        """
        self._context.clock.tick()
        for sock in sockets:
            sock.setblocking(False)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sweep, self._context)
                nursery.start_soon(self._context.hangups.run)
                with self._accepting:
                    async with trio.open_nursery() as doors:
                        for sock in sockets:
                            doors.start_soon(self._accept, sock, nursery)
                        task_status.started()
                await self._drained.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._context.upstreams.close()
            self._context.hangups.close()
            self._ended.set()

    async def drain(self, budget: float) -> int:
        """Stop accepting, close idle connections, give the others `budget` seconds, then cut them.

        Returns how many had to be cut. `serve` returns when this is done.
        """
        self._accepting.cancel()
        context = self._context
        context.draining = True
        context.handover.drain()
        for connection in tuple(context.connections):
            connection.close_if_idle()
        context.emptied = trio.Event()
        with trio.move_on_after(budget):
            if context.connections:
                await context.emptied.wait()
        cut = tuple(context.connections)
        for connection in cut:
            connection.abort()
        self._drained.set()
        await self._ended.wait()
        return len(cut)

    async def _accept(self, listening: socket.socket, nursery: trio.Nursery) -> None:
        exhausted = False
        while True:
            await trio.lowlevel.wait_readable(listening)
            try:
                for _ in range(ACCEPT_BATCH):
                    self._welcome(*listening.accept(), nursery)
                    exhausted = False
            except (BlockingIOError, ConnectionAbortedError):
                pass
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                if not exhausted:
                    exhausted = True
                    log.error("accept_paused", reason=error.strerror, connections=self.open_connections)
                await trio.sleep(self._context.limits.accept_pause)

    def _welcome(self, sock: socket.socket, address: tuple[str, int], nursery: trio.Nursery) -> None:
        connection = Connection(self._context, sock, address[0])
        nursery.start_soon(connection.run)
