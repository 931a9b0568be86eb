"""Passes bytes between a client and another process that serves it, until that one ends."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from muxi.proxy.upstream import UpstreamError

if TYPE_CHECKING:
    from muxi.proxy.connection import Connection
    from muxi.proxy.upstream import Upstream

READ: Final = 64 << 10
TURN: Final = 1 << 20


async def bridge(client: Connection, server: Upstream) -> None:
    """Pass everything both ways, until the server closes or the client takes no more.

    The server also keeps the time. A client that has left is a closed connection to it, as it would
    be without us.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_to_server, client, server)
        with suppress(UpstreamError, OSError):
            await _to_client(client, server)
        nursery.cancel_scope.cancel()


async def _to_server(client: Connection, server: Upstream) -> None:
    with suppress(OSError, UpstreamError):
        while data := await _read(client):
            await server.send(data)
    with suppress(OSError):
        server.sock.shutdown(socket.SHUT_WR)


async def _read(client: Connection) -> bytes:
    while True:
        try:
            return client.sock.recv(READ)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(client.fd)


async def _to_client(client: Connection, server: Upstream) -> None:
    moved = 0
    while data := await server.read(READ):
        await client.send(data)
        moved += len(data)
        if moved > TURN:
            moved = 0
            await trio.lowlevel.checkpoint()
