"""What a client is told whose connection can't be held, and what that may cost.

Over plain HTTP it costs one send. On a port that speaks TLS nothing may be said in plain text, so
the hand-shake comes first; it costs a signature, which is what an attacker would make us spend once
the server is full. So there are few of them a second. Who comes beyond that sees the connection
close, as it does where a hand-shake takes too long.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from muxi.proxy.tls import TlsSocket
from muxi.registry.rate import TokenBucket

if TYPE_CHECKING:
    from muxi.proxy.certificates import Certificates

#: Refused connections that may be told so at once; more are closed without a word.
MOST_TOLD: Final = 64
#: Hand-shakes for no more than a refusal: a second, and at once.
HANDSHAKES: Final = 10
#: Seconds for a refused client to shake hands, and to read its answer.
TELLING: Final = 1.0
#: HTTP/2's way to say the same (RFC 9113 6.5, 6.8): no settings, and no stream will be served, for
#: there are too many clients (ENHANCE_YOUR_CALM). A client may ask again, later.
GO_AWAY: Final = b"\0\0\0\4\0\0\0\0\0" + b"\0\0\x08\7\0\0\0\0\0" + b"\0\0\0\0\0\0\0\x0b"


class Farewell:
    """Tells refused clients so, encrypted where the port is."""

    def __init__(self, certificates: Certificates | None) -> None:
        self._certificates = certificates
        self._handshakes = TokenBucket(HANDSHAKES, HANDSHAKES)
        self._telling = 0

    async def say(self, sock: socket.socket, response: bytes) -> None:
        """Send a refusal and close, giving the client a moment to read it."""
        with sock, suppress(OSError):
            if self._telling >= MOST_TOLD:
                return
            if self._certificates is not None and self._handshakes.take(trio.current_time()):
                return
            self._telling += 1
            try:
                sock.setblocking(False)
                with trio.move_on_after(TELLING):
                    await self._tell(sock, response)
            finally:
                self._telling -= 1

    async def _tell(self, sock: socket.socket, response: bytes) -> None:
        if self._certificates is None:
            sock.send(response)
            sock.shutdown(socket.SHUT_WR)
        else:
            secure = TlsSocket(sock, self._certificates.context)
            await secure.do_handshake()
            secure.send(GO_AWAY if secure.alpn == "h2" else response)
            secure.shutdown(socket.SHUT_WR)
        # What is unread at the close would make it a reset, which can overtake the answer.
        await _read_to_end(sock)


async def _read_to_end(sock: socket.socket) -> None:
    while True:
        await trio.lowlevel.wait_readable(sock)
        if not sock.recv(1 << 16):
            return
