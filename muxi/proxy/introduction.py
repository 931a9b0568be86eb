"""The first bytes of a load balancer's connection: whose it is really (PROXY protocol)."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import structlog
import trio

from muxi.proxy.proxy_protocol import PreambleError, parse_preamble

if TYPE_CHECKING:
    from muxi.proxy.connection import Connection
    from muxi.proxy.proxy_protocol import Preamble

log = structlog.get_logger()

READ: Final = 1 << 16
NEVER: Final = float("inf")


async def introduce(client: Connection) -> bool:
    """Read the header and take its address for the peer's; False if the connection is to end.

    Raises OSError. Exactly the header is taken from the socket, so that TLS can begin behind it.
    """
    client.read_deadline = client.context.clock.now + client.context.limits.head_timeout
    try:
        preamble = await _receive(client.sock)
    except PreambleError as error:
        log.warning("proxy_header_refused", peer=client.peer, reason=str(error))
        return False
    client.read_deadline = NEVER
    if preamble is None:
        return False
    if preamble.source is None:
        return True
    return client.stand_for(preamble.source)


async def _receive(sock: socket.socket) -> Preamble | None:
    taken = b""
    while True:
        await trio.lowlevel.wait_readable(sock)
        ahead = sock.recv(READ, socket.MSG_PEEK)
        if not ahead:
            return None
        preamble = parse_preamble(taken + ahead)
        # While it is incomplete all that has come belongs to it.
        size = len(ahead) if preamble is None else preamble.size - len(taken)
        taken += sock.recv(size)
        if preamble is not None:
            return preamble
