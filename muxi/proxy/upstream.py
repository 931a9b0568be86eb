"""Connections to formations: made without delay, kept a while, looked at before they are used again.

Idle connections are kept per target, so a release never gets one that was made for another; those
of a target that nobody asks for are gone after KEEP_ALIVE, and `drop` ends them at once.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from muxi.proxy.deadlines import Clock
    from muxi.registry.routes import Target

#: Seconds on the coarse clock; with its second of slack, below the 5 s of the common servers.
KEEP_ALIVE: Final = 3.0
MAX_IDLE: Final = 128
HEAD_READ: Final = 16 << 10


class UpstreamError(Exception):
    """The formation could not be reached, or did not answer as HTTP asks."""


class Unreachable(UpstreamError):
    """No connection could be made, so nothing has been sent."""


class Upstream:
    """One connection to a formation."""

    __slots__ = ("fd", "sent", "since", "sock", "uploading")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.since = 0.0
        #: Whether any byte of the present request has gone out.
        self.sent = False
        #: Whether more of a request's body is still to go out.
        self.uploading = False

    def is_fresh(self) -> bool:
        """Tell whether an idle connection is still open, with nothing unasked-for come in."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    async def first(self) -> bytes:
        """Wait for the first bytes of a response. Raises UpstreamError, also when there are none."""
        await trio.lowlevel.wait_readable(self.fd)
        data = await self.read(HEAD_READ)
        if not data:
            raise UpstreamError("closed without a response")
        return data

    async def read(self, size: int) -> bytes:
        """Read what there is, waiting if there is nothing; b"" at the end. Raises UpstreamError."""
        while True:
            try:
                return self.sock.recv(size)
            except BlockingIOError:
                pass
            except OSError as error:
                raise UpstreamError(f"read: {error.strerror}") from error
            await trio.lowlevel.wait_readable(self.fd)

    async def send(self, data: bytes) -> None:
        """Send all of it. Raises UpstreamError."""
        rest: bytes | memoryview = data
        while rest:
            try:
                size = self.sock.send(rest)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.fd)
                continue
            except OSError as error:
                raise UpstreamError(f"send: {error.strerror}") from error
            self.sent = True
            if size == len(rest):
                return
            rest = memoryview(rest)[size:]

    def end(self) -> None:
        """Shut both directions, which wakes whoever waits on this connection."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


class TargetPool:
    """A target's address, as it is needed, and its idle connections, the latest used last."""

    __slots__ = ("_address", "_clock", "_connect_timeout", "_family", "_idle", "authority")

    def __init__(self, target: Target, clock: Clock, connect_timeout: float) -> None:
        host = "127.0.0.1" if target.host == "localhost" else target.host
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._address = (host, target.port)
        self._clock = clock
        self._connect_timeout = connect_timeout
        self._idle: list[Upstream] = []
        self.authority = (f"[{host}]" if ":" in host else host).encode() + b":%d" % target.port

    def take(self, *, repeatable: bool) -> Upstream | None:
        """Take out an idle connection that is still good, if there is one.

        One that was in use within this second is not looked at for a request that can be sent
        again: should it be dead after all, that is what happens.
        """
        now = self._clock.now
        while self._idle:
            upstream = self._idle.pop()
            if (repeatable and upstream.since == now) or (
                now - upstream.since < KEEP_ALIVE and upstream.is_fresh()
            ):
                return upstream
            upstream.sock.close()
        return None

    def put(self, upstream: Upstream) -> None:
        """Keep a connection whose response has been read to its end."""
        if len(self._idle) >= MAX_IDLE:
            upstream.sock.close()
            return
        upstream.since = self._clock.now
        upstream.sent = False
        self._idle.append(upstream)

    def close_idle(self, before: float) -> bool:
        """Close connections idle since before that time; tell whether any are left."""
        late = [upstream for upstream in self._idle if upstream.since <= before]
        if late:
            self._idle = [upstream for upstream in self._idle if upstream.since > before]
        for upstream in late:
            upstream.sock.close()
        return bool(self._idle)

    async def connect(self) -> Upstream:
        """Make a new connection. Raises Unreachable, and UpstreamError where we have no descriptor left."""
        try:
            sock = socket.socket(self._family, socket.SOCK_STREAM)
        except OSError as error:
            raise UpstreamError(f"socket: {error.strerror}") from error
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                sock.connect(self._address)
            except BlockingIOError:
                await self._finish_connect(sock)
        except OSError as error:
            sock.close()
            raise Unreachable(f"connect: {error.strerror}") from error
        except BaseException:
            sock.close()
            raise
        return Upstream(sock)

    async def _finish_connect(self, sock: socket.socket) -> None:
        with trio.move_on_after(self._connect_timeout) as scope:
            await trio.lowlevel.wait_writable(sock)
        if scope.cancelled_caught:
            raise TimeoutError(0, f"no connection within {self._connect_timeout} s")
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, "connection refused")


class Upstreams:
    """The pools of all targets."""

    def __init__(self, clock: Clock, connect_timeout: float) -> None:
        self._clock = clock
        self._connect_timeout = connect_timeout
        self._pools: dict[Target, TargetPool] = {}

    def of(self, target: Target) -> TargetPool:
        """Give the target's pool."""
        pool = self._pools.get(target)
        if pool is None:
            pool = self._pools[target] = TargetPool(target, self._clock, self._connect_timeout)
        return pool

    def sweep(self) -> None:
        """Close what has been idle for too long, and forget targets with nothing idle or in flight."""
        before = self._clock.now - KEEP_ALIVE
        for target, pool in tuple(self._pools.items()):
            if not pool.close_idle(before) and not target.in_flight:
                del self._pools[target]

    def drop(self, target: Target) -> None:
        """Close a target's idle connections now; its release is to end."""
        pool = self._pools.pop(target, None)
        if pool is not None:
            pool.close_idle(self._clock.now)

    def close(self) -> None:
        """Close all idle connections."""
        for target in tuple(self._pools):
            self.drop(target)
