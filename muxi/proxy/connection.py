"""One client's connection: reads heads, sends each request where it belongs, ends in good order.

A connection is one task that reads straight down. It owns its socket and at most one upstream
connection, and when the task ends, for whatever reason, both are closed at once: so a cancelled
connection needs no cleaning up anywhere else.
"""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING, Final

import structlog
import trio

from muxi.proxy import answers
from muxi.proxy.answers import Answer
from muxi.proxy.bodies import BodyError, request_body
from muxi.proxy.client_socket import NEVER, ClientSocket
from muxi.proxy.disconnect import goes_on
from muxi.proxy.forward import forward
from muxi.proxy.heads import CHUNKED, NOT_HTTP, HeadError, RequestHead
from muxi.proxy.http1 import parse_request_head
from muxi.proxy.introduction import introduce
from muxi.proxy.paths import find_place
from muxi.proxy.trust import peer_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.proxy.context import Context
    from muxi.proxy.tunnel import Tunnel
    from muxi.proxy.upstream import Upstream
    from muxi.registry.routes import Route, Target

log = structlog.get_logger()

HEAD_READ: Final = 16 << 10
#: HTTP/2 without TLS, by prior knowledge (RFC 9113 3.3).
H2_PREFACE: Final = b"PRI * HTTP/2.0\r\n"


class Connection(ClientSocket):
    """A client's connection, and what is known of its present request."""

    #: Whether this is a client's own connection, and not a part of one.
    outside = True

    __slots__ = (
        "forwarding",
        "idle",
        "on_drain",
        "peer",
        "route",
        "scheme",
        "scope",
        "status",
        "target",
        "trusted",
        "tunnel",
        "upstream",
    )

    def __init__(self, context: Context, sock: socket.socket, peer: str) -> None:
        super().__init__(context, sock)
        self.peer = peer_address(peer)
        self.trusted = context.trusts(self.peer)
        #: As the client asked: `https` if it came over TLS.
        self.scheme = b"http"
        #: The forwarding fields that are the same for every request of an untrusted peer.
        self.forwarding = b""
        self.scope = trio.CancelScope()
        self.idle = True
        #: Of the response that has begun to go out; 0 while none has.
        self.status = 0
        self.upstream: Upstream | None = None
        #: Of the present request, from the time on when there is one.
        self.route: Route
        #: What the present request is under way to.
        self.target: Target | None = None
        self.tunnel: Tunnel | None = None
        #: What ends the present wait when the listener closes down, where that is right.
        self.on_drain: Callable[[], None] | None = None
        if self.outside:
            context.doorman.enter(self.peer)
            context.clients += 1
            context.tally.connections += 1
        context.connections.add(self)

    async def run(self) -> None:
        """Serve the connection to its end; whatever happens in it ends here."""
        try:
            self.sock.setblocking(False)
            self.watch()
            with self.scope:
                if self.outside and self.trusted and not await self._introduced():
                    return
                await self._serve()
        except OSError:
            pass  # The client has left; there is nobody to tell.
        except Exception:
            self.context.tally.contained += 1
            log.exception("connection_failed", peer=self.peer)
        finally:
            self._close()

    def watch(self) -> None:
        """Begin to watch for the client's leaving."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.context.poller.watch(self.fd, self)

    async def _introduced(self) -> bool:
        return not self.context.proxy_protocol or await introduce(self)

    def stand_for(self, peer: str) -> bool:
        """Take another address for the peer's, as a load balancer says; False if it may not come in."""
        context = self.context
        context.doorman.leave(self.peer)
        self.peer, self.trusted, self.forwarding = peer, context.trusts(peer), b""
        crowded = context.doorman.crowding(peer)
        context.doorman.enter(peer)
        if crowded is not None:
            context.tally.refused_connections += 1
            self._try_send(crowded)
        return crowded is None

    def _close(self) -> None:
        self.drop_upstream()
        self.context.poller.unwatch(self.fd)
        self.sock.close()
        if self.outside:
            self.context.doorman.leave(self.peer)
            self.context.clients -= 1
        self.context.connections.discard(self)
        if not self.context.connections:
            self.context.emptied.set()

    async def _serve(self) -> None:
        try:
            while await self._serve_one() and not self.context.closing:
                self.idle = True
            if self.would_reset() and not self.context.draining:
                await self.linger()
        except HeadError as error:
            if error.status != NOT_HTTP:
                await self.refuse(Answer(error.status, f"Bad request: {error.reason}"))

    async def _serve_one(self) -> bool:
        head = await self._read_head()
        if head is None:
            return await self._not_a_request()
        self.context.tally.requests += 1
        place = find_place(self.context.routes, head.target)
        if place is not None:
            return await forward(self, head, place)
        if head.target == b"/ping" and head.method == b"GET" and head.length == 0:
            keep = head.keep_alive and not self.context.draining
            await self.send(answers.pong(self.context.clock.date, keep_alive=keep))
            return keep
        return await self.context.handover.serve(self, head)

    async def _not_a_request(self) -> bool:
        """Serve HTTP/2 if that is what came; else the client has closed."""
        if self.buffer:
            await self.context.handover.pass_through(self)
        return False

    async def _read_head(self) -> RequestHead | None:
        """Read the next request's head; what follows it stays in `buffer`.

        None at the end, and, with the bytes left in `buffer`, when HTTP/2 begins.
        """
        data, self.buffer = self.buffer, b""
        clock, limits = self.context.clock, self.context.limits
        self.read_deadline = clock.now + (limits.head_timeout if data else limits.idle_timeout)
        while True:
            if data:
                if data.startswith(H2_PREFACE):
                    self.buffer = data
                    break
                head = parse_request_head(data, limits.max_head)
                if head is not None:
                    self.buffer = data[head.size :]
                    self.read_deadline = NEVER
                    self.idle = False
                    self.status = 0
                    return head
            await trio.lowlevel.wait_readable(self.fd)
            try:
                more = self.sock.recv(HEAD_READ)
            except BlockingIOError:
                continue
            if not more:
                break
            if not data:
                self.read_deadline = clock.now + limits.head_timeout
                self.idle = False
            data += more
        self.read_deadline = NEVER
        return None

    def drop_upstream(self) -> None:
        """Close the upstream connection, if there is one."""
        if self.upstream is not None:
            self.upstream.sock.close()
            self.upstream = None

    def release(self, upstream: Upstream, *, reusable: bool) -> None:
        """Give the upstream connection back after a response, or close it."""
        self.upstream = None
        if reusable and self.target is not None and not upstream.uploading:
            self.context.upstreams.of(self.target).put(upstream)
        else:
            upstream.sock.close()

    async def refuse(self, answer: Answer, head: RequestHead | None = None) -> bool:
        """Send an error; tell whether the connection can go on. It can if the request is all read."""
        keep = head is not None and head.keep_alive and self._skip_body(head) and not self.context.draining
        with_body = head is None or head.method != b"HEAD"
        self.status = answer.status
        date, request_id = self.context.clock.date, head.request_id if head is not None else None
        await self.send(answer.render(date, keep_alive=keep, with_body=with_body, request_id=request_id))
        if not keep:
            await self.linger()
        return keep

    def _skip_body(self, head: RequestHead) -> bool:
        """Drop a body that has come in already; False if not all of it has."""
        if head.length == CHUNKED or head.length > len(self.buffer):
            body = request_body(head.length)
            try:
                body.take(self.buffer)
            except BodyError:
                return False
            self.buffer = body.surplus
            return body.done
        self.buffer = self.buffer[head.length :]
        return True

    def allow_silence(self, seconds: float) -> None:
        """Give the formation so long for its next byte; 0: for ever. A client that left has its own limit."""
        if not self.gone:
            self.response_deadline = self.context.clock.now + seconds if seconds else NEVER

    def carry_on(self) -> None:
        """Go on without the client, which has left or takes nothing; see `disconnect`."""
        self.gone = True
        self.response_deadline = self.context.clock.now + self.route.policy.continue_timeout

    def expire(self) -> None:
        """End the connection, or what of it has its own good end: a deadline has passed.

        Who waits for an answer still, or was slow with a head, is told so.
        """
        now = self.context.clock.now
        if self.tunnel is not None and self.tunnel.end():
            return
        if self.write_deadline < now and self.target is not None and goes_on(self.route):
            self.shut()  # Its writer learns that the client has left.
        elif self.response_deadline < now:
            self.cut_short(Answer(504, "The formation did not answer in time"))
        else:
            if not self.idle and not self.status and self.read_deadline < NEVER:
                self._try_send(Answer(408, "The request did not arrive in time"))
            self.abort()

    def end_request(self, answer: Answer) -> None:
        """End the present request since its formation ends: a tunnel in good order, others at once."""
        if self.tunnel is None:
            self.cut_short(answer)
        else:
            self.tunnel.end()

    def cut_short(self, answer: Answer) -> None:
        """End the present request: with an answer, or, if one has begun, so that it can't pass for whole."""
        if self.status:
            self.reset_on_close()
            self.scope.cancel()
        else:
            self._try_send(answer)
            self.abort()

    def _try_send(self, answer: Answer) -> None:
        try:
            self.sock.send(answer.render(self.context.clock.date, keep_alive=False))
        except OSError:
            return

    def abort(self) -> None:
        """Cancel the task and shut the socket, which also ends waits that are shielded."""
        self.scope.cancel()
        self.shut()

    def _has_input(self) -> bool:
        if not hasattr(select, "poll"):  # Windows
            return bool(select.select([self.fd], [], [], 0)[0])
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(0))

    def close_if_idle(self) -> None:
        """End the connection if it is between two requests, or waits for what need not come.

        A request that has come, but was not read yet, is served.
        """
        if self.idle and not self._has_input():
            self.abort()
        elif self.on_drain is not None:
            self.on_drain()
