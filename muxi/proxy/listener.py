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
from muxi.proxy.colleagues import Nobody
from muxi.proxy.connection import Connection
from muxi.proxy.context import Context, Served
from muxi.proxy.deadlines import Clock, sweep
from muxi.proxy.farewell import Farewell
from muxi.proxy.limits import Limits
from muxi.proxy.poller import Poller
from muxi.proxy.sockets import descriptor_ceiling
from muxi.proxy.tls_connection import TlsConnection
from muxi.proxy.trust import peer_address
from muxi.proxy.tunnel import GRACE
from muxi.proxy.upstream import Upstreams

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from muxi.proxy.certificates import Certificates
    from muxi.proxy.colleagues import Colleagues
    from muxi.proxy.others import Others
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
    """Serves HTTP on listening sockets: the proxy's paths itself, all else by way of `others`.

    `version` is sent to formations as `X-Muxi-Server`; `trusts(address)` says whether a peer's
    forwarding headers are believed; `on_request` is called after each proxied request, on the
    event loop, and must be quick. `latest(sdk, version)` gives an SDK's newest release, if it is
    known. `proxy_protocol`: connections of trusted peers begin with a header of the PROXY protocol.
    With `certificates` all connections are encrypted. `processes` share what limits all of them.
    """

    def __init__(
        self,
        routes: RouteTable,
        others: Others,
        *,
        version: str,
        limits: Limits | None = None,
        trusts: Callable[[str], bool] = trust_nobody,
        on_request: Callable[[Served], None] | None = None,
        latest: Callable[[bytes, bytes], bytes | None] | None = None,
        proxy_protocol: bool = False,
        certificates: Certificates | None = None,
        processes: int = 1,
    ) -> None:
        clock, limits = Clock(), limits or Limits()
        self._context = Context(
            routes=routes,
            upstreams=Upstreams(clock, limits.connect_timeout),
            handover=others,
            clock=clock,
            poller=Poller(),
            limits=limits,
            version=version.encode("ascii"),
            trusts=trusts,
            on_request=on_request,
            latest=latest,
            proxy_protocol=proxy_protocol,
            doorman=Doorman(limits, trusts, descriptor_ceiling()),
            processes=processes,
        )
        #: Set it before `serve`, where other processes proxy too.
        self.colleagues: Colleagues = Nobody()
        self._nursery: trio.Nursery
        routes.enders.append(self._end)
        self._certificates = certificates
        self._farewell = Farewell(certificates)
        self._accepting = trio.CancelScope()
        self._drained = trio.Event()
        self._ended = trio.Event()

    @property
    def tally(self) -> Tally:
        """Live counts of this process; read them, don't write."""
        return self._context.tally

    @property
    def context(self) -> Context:
        """What its connections share."""
        return self._context

    def status(self) -> dict[str, object]:
        """Tell what it holds, what it may hold, and what it has counted, for the status page."""
        own, theirs = asdict(self.tally), asdict(self.colleagues.tally())
        return {
            "connections": self.open_connections,
            "requests": own["in_flight"] + theirs["in_flight"],
            "limits": self._context.doorman.limits(),
            "tally": {name: own[name] + theirs[name] for name in own},
            "workers": [dict(row) for row in self.colleagues.status()],
        }

    @property
    def over(self) -> bool:
        """Whether it serves nobody any more."""
        return self._ended.is_set()

    @property
    def open_connections(self) -> int:
        """How many clients are connected now, to all processes."""
        return self._context.clients + self.colleagues.connections

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
                self._nursery = nursery
                nursery.start_soon(sweep, self._context)
                nursery.start_soon(self._context.poller.run)
                if self._certificates is not None:
                    nursery.start_soon(self._certificates.watch)
                with self._accepting:
                    async with trio.open_nursery() as doors:
                        for sock in sockets:
                            doors.start_soon(self._accept, sock)
                        task_status.started()
                await self._drained.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._context.upstreams.close()
            self._context.poller.close()
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
        self.colleagues.retire()

    def busy(self) -> frozenset[object]:
        """Give what stands for the connections with a request under way that has an end of its own."""
        own = frozenset(c for c in self._context.connections if not c.idle and c.on_drain is None)
        return own | self.colleagues.busy()

    async def drain(self, budget: float, *, settle: float = 0.0) -> int:
        """Stop accepting, close idle connections, give the others `budget` seconds, then cut them.

        Connections are closed as idle after `settle` seconds, in which what has just come in sends
        its request. Returns how many had to be cut. `serve` returns when this is done.
        """
        self._accepting.cancel()
        deadline, elsewhere = trio.current_time() + settle + budget, 0

        async def drain_colleagues() -> None:
            nonlocal elsewhere
            elsewhere = await self.colleagues.drain(budget, settle)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain_colleagues)
            cut = await self._empty(deadline, settle)
        # Those that colleagues have handed over meanwhile.
        cut |= await self._empty(deadline)
        self._drained.set()
        await self._ended.wait()
        return len(cut) + elsewhere

    async def _empty(self, deadline: float, settle: float = 0.0) -> frozenset[Connection]:
        """Let all connections end, up to a time, and cut the others; gives those."""
        context = self._context
        context.draining = context.closing = True
        await trio.sleep(settle)
        context.handover.drain()
        for connection in tuple(context.connections):
            connection.close_if_idle()
        context.emptied = trio.Event()
        with trio.move_on_at(deadline):
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
        return frozenset(connection for connection in cut if connection.outside)

    def _end(self, target: Target) -> None:
        """End what is under way to a target that ends: see `RouteTable.end`."""
        for connection in tuple(self._context.connections):
            if connection.target is target:
                connection.end_request(ENDED)
        self._context.upstreams.drop(target)

    async def _accept(self, listening: socket.socket) -> None:
        exhausted = False
        while True:
            await trio.lowlevel.wait_readable(listening)
            try:
                for _ in range(ACCEPT_BATCH):
                    self._distribute(*listening.accept())
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

    def _distribute(self, sock: socket.socket, address: tuple[str, int]) -> None:
        """Let a new connection in, if it may: here, or with a colleague who has fewer."""
        if not self._refuses(sock, address[0]) and not self.colleagues.take(
            sock, address[0], self._context.clients
        ):
            self._start(self._connection(sock, address[0]))

    def welcome(
        self, sock: socket.socket, peer: str, over: Callable[[Connection], None] | None = None
    ) -> Connection | None:
        """Serve a connection that came in elsewhere, from its first byte on; None if it may not stay.

        `over` is called once it has ended.
        """
        if self._ended.is_set():
            sock.close()
            return None
        if self._refuses(sock, peer):
            return None
        connection = self._connection(sock, peer)
        if over is None:
            self._start(connection)
        else:
            self._nursery.start_soon(_run, connection, over)
        return connection

    def go_on(self, connection: Connection) -> None:
        """Serve a connection that another process has begun to serve."""
        self._start(connection)

    def _connection(self, sock: socket.socket, peer: str) -> Connection:
        if self._certificates is None:
            return Connection(self._context, sock, peer)
        return TlsConnection(self._context, sock, peer, self._certificates.context)

    def _start(self, connection: Connection) -> None:
        self._nursery.start_soon(connection.run)

    def _refuses(self, sock: socket.socket, peer: str) -> bool:
        """Turn a new connection away if it may not come in."""
        context = self._context
        answer = context.doorman.refusal(sock.fileno(), peer_address(peer), self.open_connections)
        if answer is None:
            return False
        if not context.tally.refused_connections:
            log.warning("connections_refused", reason=answer.message, connections=self.open_connections)
        context.tally.refused_connections += 1
        response = answer.render(context.clock.date, keep_alive=False)
        self._nursery.start_soon(self._farewell.say, sock, response)
        return True


async def _run(connection: Connection, over: Callable[[Connection], None]) -> None:
    try:
        await connection.run()
    finally:
        over(connection)
