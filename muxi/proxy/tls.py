"""TLS as a socket: the few methods that a connection uses of one, with encryption below them.

OpenSSL works on two memory buffers and never sees the socket. So each read takes all that the
kernel has in one call and leaves nothing behind but a broken record: waiting for the socket to
become readable stays truthful, as it must be for code that waits first and reads then. Writing
takes everything: what the kernel does not accept is kept in order, in `unsent`, for the next write.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Final

import trio

#: The most that one record holds (RFC 8446 5.1).
RECORD: Final = 16 << 10
#: How much is read ahead of a client that does not wait for its answer.
AHEAD: Final = 64 << 10


class TlsSocket:
    """The server's side of one TLS connection on a connected, non-blocking socket.

    Has the methods of `socket.socket` that it needs, not the others: none may pass by the encryption.
    """

    __slots__ = ("_ahead", "_in", "_out", "_session", "_silent", "_sock", "ended", "unsent")

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._sock = sock
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._session = context.wrap_bio(self._in, self._out, server_side=True)
        self._ahead = b""
        #: No close_notify is to be sent, or it has been.
        self._silent = False
        #: Whether the client has said, or shown, that nothing more will come from it.
        self.ended = False
        #: Encrypted bytes that the kernel has not taken yet.
        self.unsent = b""

    @property
    def family(self) -> int:
        return self._sock.family

    @property
    def alpn(self) -> str | None:
        """The protocol agreed on, if any (RFC 7301)."""
        return self._session.selected_alpn_protocol()

    async def do_handshake(self) -> None:
        """Agree on keys; the caller limits the time. Raises OSError, of which ssl.SSLError is one."""
        while True:
            try:
                self._session.do_handshake()
            except ssl.SSLWantReadError:
                await self._send_unsent()
                await self._receive()
                continue
            except ssl.SSLError:
                self._flush()  # The alert that says what was wrong.
                raise
            await self._send_unsent()
            # The client's first request may have come with its last word of the hand-shake.
            self._ahead = self._decrypt()
            return

    async def _receive(self) -> None:
        await trio.lowlevel.wait_readable(self._sock)
        try:
            data = self._sock.recv(RECORD)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionResetError("closed within the handshake")
        self._in.write(data)

    async def _send_unsent(self) -> None:
        self._flush()
        while self.unsent:
            await trio.lowlevel.wait_writable(self._sock)
            self._flush()

    def recv(self, size: int) -> bytes:
        """Read about `size` bytes, all that has come; b"" at the end. Raises OSError as a socket does."""
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        if self.ended:
            return b""
        data = self._sock.recv(size)
        if not data:
            # A close without close_notify: common, and harmless where bodies have a length.
            self.ended = True
            return b""
        self._in.write(data)
        data = self._decrypt()
        if not data and not self.ended:
            raise BlockingIOError
        return data

    def _decrypt(self) -> bytes:
        """Give the plain text of all whole records that are there."""
        parts = []
        try:
            while part := self._session.read(RECORD):
                parts.append(part)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        if self._out.pending:
            self._flush()  # OpenSSL's own: an alert, or a new key.
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def take_ahead(self) -> bytes:
        """Give what `look_ahead` has read."""
        data, self._ahead = self._ahead, b""
        return data

    def look_ahead(self) -> bool:
        """Read what has come while nobody reads, and tell whether the client is leaving.

        A client says so within the encryption (close_notify), and may wait for the answer to it
        before it closes the socket.
        """
        while not self.ended and len(self._ahead) < AHEAD:
            before, self._ahead = self._ahead, b""
            try:
                before += self.recv(RECORD)
            except BlockingIOError:
                break
            except OSError:
                self.ended = True
            finally:
                self._ahead = before
        return self.ended

    def send(self, data: bytes | memoryview) -> int:
        """Take all of it; `unsent` is what must still be flushed. Raises OSError."""
        view = memoryview(data)
        while view:
            view = view[self._session.write(view) :]
        self._flush()
        return len(data)

    def flush(self) -> bool:
        """Send what is left; tell whether all of it has gone. Raises OSError."""
        self._flush()
        return not self.unsent

    def _flush(self) -> None:
        if self._out.pending:
            self.unsent += self._out.read()
        while self.unsent:
            try:
                sent = self._sock.send(self.unsent)
            except BlockingIOError:
                return
            self.unsent = self.unsent[sent:]

    def shutdown(self, how: int) -> None:
        """End in good order, with a close_notify, where only sending ends; else at once. Raises OSError."""
        if how == socket.SHUT_WR:
            self._say_goodbye()
        else:
            self._silent = True
        self._sock.shutdown(how)

    def _say_goodbye(self) -> None:
        if self._silent:
            return
        self._silent = True
        # It writes ours, and mostly finds that the client's is not there yet.
        with suppress(ssl.SSLError, ValueError):
            self._session.unwrap()
        with suppress(OSError):
            self._flush()

    def cut(self) -> None:
        """Send no close_notify: by that the client sees that more was to come."""
        self._silent = True

    def close(self) -> None:
        self._say_goodbye()
        self._sock.close()

    def fileno(self) -> int:
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        self._sock.setblocking(flag)

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        self._sock.setsockopt(level, option, value)

    def getpeername(self) -> object:
        return self._sock.getpeername()

    def getsockname(self) -> object:
        return self._sock.getsockname()
