"""Connections that another process has begun to serve, and this one goes on with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxi.proxy.asgi_proxy import StreamConnection
from muxi.proxy.connection import Connection

if TYPE_CHECKING:
    import socket

    from muxi.proxy.context import Context


class HandedOver(Connection):
    """A client's own connection, and what has been read of it."""

    __slots__ = ()

    def __init__(self, context: Context, sock: socket.socket, peer: str, data: bytes) -> None:
        super().__init__(context, sock, peer)
        self.buffer = data
        context.tally.connections -= 1  # It has been counted where it came in.

    async def _introduced(self) -> bool:
        return True


class Relayed(StreamConnection):
    """One end of a pair of sockets, whose other end goes on to the client."""

    __slots__ = ()

    def __init__(self, context: Context, sock: socket.socket, peer: str, scheme: str, data: bytes) -> None:
        super().__init__(context, sock, peer, scheme)
        self.buffer = data
