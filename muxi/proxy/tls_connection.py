"""A client's connection over TLS: the hand-shake before, and the client's ways of leaving.

HTTP/1.1 is served by the code of a plain connection, on a socket that encrypts. HTTP/2 is chosen in
the hand-shake (ALPN, RFC 7301).
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final, cast

import structlog
import trio

from muxi.proxy.answers import Answer
from muxi.proxy.client_socket import NEVER
from muxi.proxy.connection import Connection
from muxi.proxy.tls import TlsSocket

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from muxi.proxy.context import Context
    from muxi.proxy.heads import RequestHead

log = structlog.get_logger()

#: The first byte of every TLS connection: the record type of a ClientHello.
HANDSHAKE: Final = b"\x16"
WRITE: Final = 256 << 10
HTTPS_EXPECTED: Final = Answer(400, "This port speaks HTTPS: use https:// instead of http://")


class TlsConnection(Connection):
    """A `Connection` whose socket encrypts from the first byte on."""

    __slots__ = ("_reading", "_tls", "tls_context")

    def __init__(self, context: Context, sock: socket.socket, peer: str, tls_context: ssl.SSLContext) -> None:
        super().__init__(context, sock, peer)
        self.tls_context = tls_context
        self.scheme = b"https"
        self._tls: TlsSocket | None = None
        self._reading = False

    def watch(self) -> None:
        """See `Connection.watch`."""
        self.context.poller.watch(self.fd, self, stirred=self._stirred)

    def _stirred(self) -> None:
        """Look for the client's leaving in what has come while the task waits for something else.

        A client may say that it leaves within the encryption.
        """
        waits = self._on_hangup is not None and not self._reading
        if waits and self._tls is not None and self._tls.look_ahead():
            self.hung_up()

    async def _serve(self) -> None:
        self.read_deadline = self.context.clock.now + self.context.limits.handshake_timeout
        if not await self._speaks_tls():
            return
        self.read_deadline = NEVER
        assert self._tls is not None
        if self._tls.alpn == "h2":
            self.idle = False
            await self.context.handover.pass_through(self)
            return
        await super()._serve()

    async def _speaks_tls(self) -> bool:
        """Do the hand-shake. A client that speaks plain HTTP is told so."""
        await trio.lowlevel.wait_readable(self.fd)
        first = self.sock.recv(1, socket.MSG_PEEK)
        if first != HANDSHAKE:
            if first.isalpha():
                await self.refuse(HTTPS_EXPECTED)
            return False
        tls = TlsSocket(self.sock, self.tls_context)
        try:
            await tls.do_handshake()
        except OSError as error:
            log.debug("tls_handshake_failed", peer=self.peer, reason=str(error))
            return False
        # It has what a connection uses of a socket, and nothing that would pass by the encryption.
        self.sock, self._tls = cast("socket.socket", tls), tls
        return True

    async def _read_head(self) -> RequestHead | None:
        tls = self._tls
        if tls is not None:
            self.buffer += tls.take_ahead()
            if tls.ended and not self.buffer:
                return None
        return await super()._read_head()

    async def read_body(self, size: int) -> bytes:
        self._reading = True
        try:
            return await super().read_body(size)
        finally:
            self._reading = False

    def _try_send(self, answer: Answer) -> None:
        if self._tls is not None:  # Before that it would be plain text.
            super()._try_send(answer)

    async def send(self, data: bytes) -> None:
        # In pieces, so that not all of it lies here encrypted.
        for start in range(0, len(data), WRITE):
            await super().send(data[start : start + WRITE])

    def offer(self, data: bytes) -> bool:
        tls = self._tls
        if tls is None:
            return super().offer(data)
        tls.send(data)
        if tls.unsent:
            self._await_writing()
        return not tls.unsent

    async def flush(self) -> None:
        tls = self._tls
        if tls is None:
            await super().flush()
            return
        while tls.unsent:
            self._await_writing()
            await trio.lowlevel.wait_writable(self.fd)
            tls.flush()
        self.write_deadline = NEVER

    def on_hangup(self, action: Callable[[], None] | None) -> None:
        if self._tls is not None and self._tls.ended:
            self.gone = True
        super().on_hangup(action)

    def reset_on_close(self) -> None:
        super().reset_on_close()
        if self._tls is not None:
            self._tls.cut()
