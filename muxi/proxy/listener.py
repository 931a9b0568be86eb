"""The public socket: accepts, starts one task a connection, closes down in good order.

The one who opened the listening sockets closes them: after `drain` they still hold what waits in
their backlog, which a successor in the same process (an upgrade by `exec`) will serve.
"""

from __future__ import annotations

import errno
from dataclasses import asdict
from typing import TYPE_CHECKING

import structlog
import trio

from muxi.proxy.admission import Doorman
from muxi.proxy.answers import RETRY_AFTER, Answer
from muxi.proxy.connection import Connection
from muxi.proxy.context import Context, Served
from muxi.proxy.deadlines import Clock, sweep
from muxi.proxy.handover import Handover
from muxi.proxy.hangup import Hangups
from muxi.proxy.limits import Limits
from muxi.proxy.sockets import descriptor_ceiling
from muxi.proxy.tls_connection import TlsConnection
from muxi.proxy.trust import peer_address
from muxi.proxy.tunnel import GRACE
from muxi.proxy.upstream import Upstreams

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from hypercorn.typing import ASGIFramework

    from muxi.proxy.certificates import Certificates
    from muxi.proxy.stats import Tally
    from muxi.registry.routes import RouteTable, Target

log = structlog.get_logger()

#: Out of descriptors or of kernel memory: it passes when connections end.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
ENDED = Answer(503, "The formation was ended before it had answered", "FORMATION_UNAVAILABLE", RETRY_AFTER)
#: Connections accepted before others get a turn.
ACCEPT_BATCH = 64


def trust_nobody(_peer: str) -> bool:
    """Believe no peer's forwarding headers: the default."""
    return False


class Listener:
    """Serves HTTP on listening sockets: the proxy's paths itself, all else through an ASGI app.

    `version` is sent to formations as `X-Muxi-Server`; `trusts(address)` says whether a peer's
    forwarding headers are believed; `on_request` is called after each proxied request, on the
    event loop, and must be quick. `latest(sdk, version)` gives an SDK's newest release, if it is
    known. `proxy_protocol`: connections of trusted peers begin with a header of the PROXY protocol.
    With `certificates` all connections are encrypted.
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
        latest: Callable[[bytes, bytes], bytes | None] | None = None,
        proxy_protocol: bool = False,
        certificates: Certificates | None = None,
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
            latest=latest,
            proxy_protocol=proxy_protocol,
            doorman=Doorman(limits, trusts, descriptor_ceiling()),
        )
        routes.enders.append(self._end)
        self._certificates = certificates
        self._accepting = trio.CancelScope()
        self._drained = trio.Event()
        self._ended = trio.Event()

    @property
    def tally(self) -> Tally:
        """Live counts; read them, don't write."""
        return self._context.tally

    def status(self) -> dict[str, object]:
        """Tell what it holds, what it may hold, and what it has counted, for the status page."""
        return {
            "connections": self.open_connections,
            "requests": self.tally.in_flight,
            "limits": self._context.doorman.limits(),
            "tally": asdict(self.tally),
        }

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
                if self._certificates is not None:
                    nursery.start_soon(self._certificates.watch)
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

    def configure(self, limits: Limits, trusts: Callable[[str], bool], *, proxy_protocol: bool) -> None:
        """Go by other settings, from the next connection on, or the next look at a deadline."""
        context = self._context
        context.limits, context.trusts, context.proxy_protocol = limits, trusts, proxy_protocol
        context.doorman.configure(limits, trusts)

    def retire(self) -> None:
        """Go on serving, but end each connection with the answer to its next request.

        So, for a while before a `drain`, clients leave by themselves: one whose connection is
        closed as idle may just be sending a request. May be called again, for connections that
        came since.
        """
        self._context.draining = True
        self._context.handover.drain()

    def resume(self) -> None:
        """Take back `retire`."""
        self._context.draining = False

    def busy(self) -> frozenset[Connection]:
        """Give the connections with a request under way that has an end of its own."""
        return frozenset(c for c in self._context.connections if not c.idle and c.on_drain is None)

    async def drain(self, budget: float, *, settle: float = 0.0) -> int:
        """Stop accepting, close idle connections, give the others `budget` seconds, then cut them.

        Connections are closed as idle after `settle` seconds, in which what has just come in sends
        its request. Returns how many had to be cut. `serve` returns when this is done.
        """
        self._accepting.cancel()
        context = self._context
        context.draining = context.closing = True
        await trio.sleep(settle)
        context.handover.drain()
        for connection in tuple(context.connections):
            connection.close_if_idle()
        context.emptied = trio.Event()
        with trio.move_on_after(budget):
            if context.connections:
                await context.emptied.wait()
        tunnels = [c.tunnel for c in context.connections if c.tunnel is not None]
        for tunnel in tunnels:
            tunnel.end()
        with trio.move_on_after(GRACE if tunnels else 0):
            if context.connections:
                await context.emptied.wait()
        cut = tuple(context.connections)
        for connection in cut:
            connection.abort()
        self._drained.set()
        await self._ended.wait()
        return len(cut)

    def _end(self, target: Target) -> None:
        """End what is under way to a target that ends: see `RouteTable.end`."""
        for connection in tuple(self._context.connections):
            if connection.target is target:
                connection.end_request(ENDED)
        self._context.upstreams.drop(target)

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

    def _turn_away(self, sock: socket.socket, answer: Answer, nursery: trio.Nursery) -> None:
        context = self._context
        if not context.tally.refused_connections:
            log.warning("connections_refused", reason=answer.message, connections=self.open_connections)
        context.tally.refused_connections += 1
        response = answer.render(context.clock.date, keep_alive=False)
        nursery.start_soon(context.doorman.turn_away, sock, response)

    def _welcome(self, sock: socket.socket, address: tuple[str, int], nursery: trio.Nursery) -> None:
        doorman, peer = self._context.doorman, peer_address(address[0])
        refused = doorman.refusal(sock.fileno(), peer, self.open_connections)
        if refused is not None:
            self._turn_away(sock, refused, nursery)
            return
        if self._certificates is None:
            connection = Connection(self._context, sock, address[0])
        else:
            connection = TlsConnection(self._context, sock, address[0], self._certificates.context)
        nursery.start_soon(connection.run)
