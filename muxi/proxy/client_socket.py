"""A client's socket: reading, sending, the deadlines of both, and the ways of closing it.

Each wait that needs a deadline writes it into an attribute; `deadlines` looks at all of them once a
second, for a timer or a cancel scope for each wait would cost more than a request.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.proxy.context import Context

NEVER: Final = float("inf")
LINGER_READ: Final = 256 << 10


class ClientSocket:
    """The socket, what was read ahead from it and what it has not taken yet."""

    __slots__ = (
        "_on_hangup",
        "buffer",
        "context",
        "fd",
        "gone",
        "read_deadline",
        "resets",
        "response_deadline",
        "sock",
        "unsent",
        "upload_deadline",
        "write_deadline",
    )

    def __init__(self, context: Context, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.context = context
        self.buffer = b""
        self.unsent: bytes | memoryview = b""
        self.read_deadline = NEVER
        self.write_deadline = NEVER
        self.upload_deadline = NEVER
        self.response_deadline = NEVER
        #: Whether the client has left, or has ended its sending.
        self.gone = False
        #: Whether the response was cut short, so that the close is to be a reset.
        self.resets = False
        self._on_hangup: Callable[[], None] | None = None

    async def read_body(self, size: int) -> bytes:
        """Read from the client, waiting if there is nothing; b"" at the end. Raises OSError."""
        while True:
            try:
                return self.sock.recv(size)
            except BlockingIOError:
                pass
            self.read_deadline = self.context.clock.now + self.context.limits.body_idle_timeout
            await trio.lowlevel.wait_readable(self.fd)
            self.read_deadline = NEVER

    async def send(self, data: bytes) -> None:
        """Send all of it to the client. Raises OSError."""
        if not self.offer(data):
            await self.flush()

    def offer(self, data: bytes) -> bool:
        """Send what the socket takes at once; if that is not all, `flush` sends the rest. Raises OSError."""
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            return True
        self.unsent = memoryview(data)[sent:]
        self._await_writing()
        return False

    async def flush(self) -> None:
        """Send what `offer` has left. Raises OSError."""
        while self.unsent:
            self._await_writing()
            await trio.lowlevel.wait_writable(self.fd)
            with suppress(BlockingIOError):
                self.unsent = self.unsent[self.sock.send(self.unsent) :]
        self.write_deadline = NEVER

    def _await_writing(self) -> None:
        self.write_deadline = self.context.clock.now + self.context.limits.write_stall_timeout

    def would_reset(self) -> bool:
        """Tell whether more has come from the client, which a close would answer by a reset."""
        if self.buffer or self.resets:
            return not self.resets
        try:
            return bool(self.sock.recv(LINGER_READ))
        except OSError:
            return False

    async def linger(self) -> None:
        """Let the client read its answer: closing with unread bytes would reset the connection."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
            self.read_deadline = self.context.clock.now + self.context.limits.linger_timeout
            left = self.context.limits.linger_bytes
            while left > 0:
                await trio.lowlevel.wait_readable(self.fd)
                try:
                    data = self.sock.recv(LINGER_READ)
                except BlockingIOError:
                    continue  # Part of a TLS record.
                if not data:
                    return
                left -= len(data)
        except OSError:
            return

    def on_hangup(self, action: Callable[[], None] | None) -> None:
        """Say what is to happen when the client leaves; at once if it has left already."""
        self._on_hangup = action
        if self.gone and action is not None:
            action()

    def hung_up(self) -> None:
        """See `poller.Leaver`."""
        self.gone = True
        if self._on_hangup is not None:
            self._on_hangup()

    def is_late(self, now: float) -> bool:
        """Tell whether one of the present waits should have ended by now."""
        return (
            self.read_deadline < now
            or self.write_deadline < now
            or self.upload_deadline < now
            or self.response_deadline < now
        )

    def shut(self) -> None:
        """Shut both directions, which wakes whoever waits for the client."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def reset_on_close(self) -> None:
        """Make the close a reset, so that a body cut short can't pass for a whole one."""
        self.resets = True
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
