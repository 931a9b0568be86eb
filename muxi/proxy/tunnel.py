"""Upgraded connections: once a formation has switched protocols, bytes pass both ways as they are.

WebSockets and any other upgrade (RFC 9110 7.8). Each direction has its own end: a FIN is passed on
as a FIN, and the other direction goes on, for the other side may have more to say. A reset, or a
side that takes nothing, ends both.

On an end that we announce (a drain that is over, the server's shutdown, an idle tunnel) both sides
of a WebSocket get a close frame 1001. It may stand between frames only, so the frames' headers are
followed: two look-ups a frame buy that a client can tell a planned end from a broken connection,
and reconnects at once. What is within a frame then is sent to its end first, for at most GRACE.
"""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from muxi.proxy.fields import tokens
from muxi.proxy.frames import FrameTracker, close_frame
from muxi.proxy.headers import interim_head
from muxi.proxy.heads import CHUNKED
from muxi.proxy.upstream import Upstream, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muxi.proxy.connection import Connection
    from muxi.proxy.heads import RequestHead, ResponseHead

SMALL_READ: Final = 16 << 10
BIG_READ: Final = 64 << 10
TURN: Final = 1 << 20
#: The largest body of a request that asks for an upgrade; it must be sent whole before the answer.
MAX_BODY: Final = 64 << 10
#: Seconds for both sides to close after an announced end.
GRACE: Final = 2.0
#: Seconds without a byte after which a tunnel goes that one side has closed already.
HALF_CLOSED_IDLE: Final = 300.0
#: RFC 6455 7.4.1: going away.
GOING_AWAY: Final = 1001


async def prepare(client: Connection, head: RequestHead) -> None:
    """Pass the wish for an upgrade on, or drop it, which a server may always do.

    Dropped are HTTP/2 (we speak HTTP/1.1 to formations), all upgrades of HTTP/1.0 clients (RFC
    9110 7.8), and those of requests with a large body or one that waits for `100 Continue`; a
    small body is read here. Raises OSError.
    """
    asked = [part.strip() for part in (head.upgrade or b"").split(b",")]
    protocols = [name for name in asked if name and name.lower() not in {b"h2c", b"h2"}]
    waits = any(line[:7].lower() == b"expect:" for line in head.fields)
    if not protocols or not head.http11 or waits or head.length == CHUNKED or head.length > MAX_BODY:
        head.upgrade = None
        return
    while len(client.buffer) < head.length:
        more = await client.read_body(SMALL_READ)
        if not more:
            raise ConnectionError("the client left within its request")
        client.buffer += more
    head.fields += [b"Connection: Upgrade", b"Upgrade: " + b", ".join(protocols)]


async def run_tunnel(client: Connection, upstream: Upstream, response: ResponseHead, data: bytes) -> None:
    """Pass a 101 on, then everything, until both sides have ended. `data` came after its head."""
    target = client.target
    assert target is not None
    protocol = next((line for line in response.fields if line[:8].lower() == b"upgrade:"), None)
    if protocol is None:
        raise UpstreamError("switched protocols without saying to which")
    client.status = response.status
    await client.send(interim_head(response))
    tunnel = client.tunnel = Tunnel(client, upstream, websocket=b"websocket" in tokens(protocol[8:]))
    # Its FIN is an end of one direction now, no leaving.
    client.on_hangup(None)
    traffic = client.route.traffic
    target.tunnels += 1
    traffic.tunnels += 1
    ahead, client.buffer = client.buffer, b""
    try:
        await tunnel.run(ahead, data)
    finally:
        target.tunnels -= 1
        traffic.tunnels -= 1
        traffic.bytes_in += tunnel.up.moved
        traffic.bytes_out += tunnel.down.moved
        client.tunnel = None


class _Way:
    """One direction: where its bytes come from and go to, and how far it is."""

    __slots__ = (
        "_close",
        "_fd",
        "_read",
        "_send",
        "_sending",
        "_sink",
        "_tracker",
        "ending",
        "moved",
        "over",
    )

    def __init__(
        self,
        fd: int,
        read: Callable[[int], Awaitable[bytes]],
        send: Callable[[bytes], Awaitable[None]],
        sink: socket.socket,
        close: bytes | None,
    ) -> None:
        self._fd = fd
        self._read = read
        self._send = send
        self._sink = sink
        #: The frame that announces the end, where frames are what passes.
        self._close = close
        self._tracker = FrameTracker() if close is not None else None
        self._sending = False
        self.ending = False
        #: Whether nothing more goes out: what still comes in is dropped.
        self.over = False
        self.moved = 0

    async def pump(self, first: bytes, moved: Callable[[], None]) -> None:
        """Pass everything on up to the end, and then the end. Raises OSError, UpstreamError."""
        data, size, since, quiet = first, SMALL_READ, 0, False
        while True:
            if data:
                await self._pass_on(data)
                moved()
                since += len(data)
            if since > TURN:
                since = 0
                await trio.lowlevel.checkpoint()
            size = BIG_READ if len(data) == size else SMALL_READ
            data = b""  # A quiet tunnel holds no buffer.
            if quiet:
                # A read would fail: what there was has been read. To try costs more than to wait.
                await trio.lowlevel.wait_readable(self._fd)
            data = await self._read(size)
            quiet = len(data) < size
            if not data:
                break
        self._finish()

    async def _pass_on(self, data: bytes) -> None:
        if self.over:
            return
        if self._tracker is not None:
            size = self._tracker.feed(data, one=self.ending)
            data = data[:size]
        self._sending = True
        await self._send(data)
        self._sending = False
        self.moved += len(data)
        if self.ending:
            self._announce()

    def end(self) -> None:
        """Announce the end as soon as a frame ends."""
        self.ending = True
        if not self._sending:
            self._announce()

    def _announce(self) -> None:
        tracker = self._tracker
        if self.over or (tracker is not None and not tracker.between):
            return
        if tracker is not None and not tracker.closed:
            assert self._close is not None
            with suppress(OSError):  # It takes nothing, or has gone; its end will tell it.
                self._sink.send(self._close)
        self._finish()

    def _finish(self) -> None:
        self.over = True
        try:
            self._sink.shutdown(socket.SHUT_WR)
        except OSError:
            return


class Tunnel:
    """Both directions between a client and a formation, from the switch of protocols on."""

    __slots__ = ("_client", "_ending", "_idle", "_upstream", "down", "up")

    def __init__(self, client: Connection, upstream: Upstream, *, websocket: bool) -> None:
        self._client = client
        self._upstream = upstream
        self._idle = client.route.policy.tunnel_idle_timeout
        self._ending = False
        to_client = close_frame(GOING_AWAY) if websocket else None
        to_formation = close_frame(GOING_AWAY, secrets.token_bytes(4)) if websocket else None
        self.down = _Way(upstream.fd, upstream.read, client.send, client.sock, to_client)
        self.up = _Way(client.fd, self._read_client, self._send_upstream, upstream.sock, to_formation)

    async def run(self, to_formation: bytes, to_client: bytes) -> None:
        """Run until both directions have ended; what was read ahead goes first."""
        self._moved()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._one_way, self.up, to_formation, nursery.cancel_scope)
            await self._one_way(self.down, to_client, nursery.cancel_scope)

    def end(self) -> bool:
        """Announce the end to both sides; they have GRACE seconds. False if that was done before."""
        if self._ending:
            return False
        self._ending = True
        self._client.read_deadline = self._client.context.clock.now + GRACE
        self.down.end()
        self.up.end()
        return True

    async def _one_way(self, way: _Way, first: bytes, both: trio.CancelScope) -> None:
        try:
            await way.pump(first, self._moved)
        except UpstreamError:
            # What the formation broke off must not look finished to the client.
            if not self._ending:
                self._client.reset_on_close()
            both.cancel()
        except OSError:
            both.cancel()
        else:
            if not self._ending:
                self._idle = min(self._idle or HALF_CLOSED_IDLE, HALF_CLOSED_IDLE)
                self._moved()

    def _moved(self) -> None:
        if self._idle and not self._ending:
            self._client.read_deadline = self._client.context.clock.now + self._idle

    async def _read_client(self, size: int) -> bytes:
        client = self._client
        while True:
            try:
                return client.sock.recv(size)
            except BlockingIOError:
                pass
            await trio.lowlevel.wait_readable(client.fd)

    async def _send_upstream(self, data: bytes) -> None:
        client = self._client
        client.upload_deadline = client.context.clock.now + client.context.limits.upstream_stall_timeout
        await self._upstream.send(data)
        client.upload_deadline = float("inf")
