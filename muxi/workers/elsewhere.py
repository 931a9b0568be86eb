"""What a worker does with requests that are not for it: the main process goes on with the connection.

A plain connection moves there as it is, with what has been read of it: the worker has no part in
it any more. One over TLS must stay, since its keys are here: it is relayed, decrypted, through a
pair of sockets of which the main process has the other end.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import trio

from muxi.proxy.headers import whole_head
from muxi.proxy.upstream import Upstream
from muxi.workers.bridge import bridge
from muxi.workers.messages import Give

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.proxy.connection import Connection
    from muxi.proxy.heads import RequestHead

PLAIN = b"http"


class Elsewhere:
    """See `Others`. `send` has a message sent with a socket; `serial` names a client's connection."""

    def __init__(
        self, send: Callable[[Give, socket.socket], int], serial: Callable[[Connection], int]
    ) -> None:
        self._send = send
        self._serial = serial

    async def serve(self, client: Connection, head: RequestHead) -> bool:
        """Give the connection away, the request first."""
        client.context.tally.requests -= 1  # It is counted where it is served.
        await self._give(client, whole_head(head) + client.buffer)
        return False

    async def pass_through(self, client: Connection) -> None:
        """Give an HTTP/2 connection away."""
        await self._give(client, client.buffer)

    def drain(self) -> None:
        """There is nothing that would be served to its end here."""

    async def _give(self, client: Connection, data: bytes) -> None:
        client.buffer = b""
        if client.scheme == PLAIN:
            self._send(Give(self._serial(client), client.peer, PLAIN, data), client.sock.dup())
            # Ours is closed without a word: the connection goes on.
            client.scope.cancel()
            await trio.lowlevel.checkpoint()
        else:
            await self._relay(client, data)

    async def _relay(self, client: Connection, data: bytes) -> None:
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            self._send(Give(0, client.peer, client.scheme, data), theirs)
            await bridge(client, Upstream(ours))
        await client.linger()
