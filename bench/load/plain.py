"""Plain blocking HTTP: what other loads begin with."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from bench.children import BenchError
from bench.peers.peer import HOST

if TYPE_CHECKING:
    from bench.peers.peer import Door

TIMEOUT = 30.0


def connect(door: Door) -> socket.socket:
    """Connect, without Nagle's delay and with a timeout."""
    sock = socket.create_connection((HOST, door.port), TIMEOUT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def head(method: str, door: Door, path: str, *fields: str) -> bytes:
    """Write a request's head."""
    lines = (f"{method} {door.path(path)} HTTP/1.1", f"Host: {HOST}:{door.port}", *fields, "", "")
    return "\r\n".join(lines).encode()


def read_head(sock: socket.socket, status: int = 200) -> tuple[bytes, bytes]:
    """Read a response's head; give it and what came after it. Raises BenchError for another status."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(16 << 10)
        if not more:
            raise BenchError(f"the connection was closed within the head: {data!r}")
        data += more
    found, _, rest = data.partition(b"\r\n\r\n")
    first = found.partition(b"\r\n")[0].decode("latin-1")
    if first.split(" ", 2)[1] != str(status):
        raise BenchError(f"the answer was {first}")
    return found, rest


def content_length(found: bytes) -> int | None:
    """Read Content-Length from a head; None if it has none."""
    for line in found.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return None
