"""Many WebSockets, each of which sends a small message as soon as the last one has come back."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

from bench.children import BenchError
from bench.figures import tail
from bench.load.plain import connect, head, read_head

if TYPE_CHECKING:
    import socket

    from bench.peers.peer import Door

PATH = "/echo"
MESSAGE = b"m" * 64
#: A text message, masked with zeros (RFC 6455 5.2).
FRAME = b"\x81%c\0\0\0\0%b" % (0x80 | len(MESSAGE), MESSAGE)
ANSWER = b"\x81%c%b" % (len(MESSAGE), MESSAGE)
FIELDS = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def run(door: Door, *, count: int, seconds: float) -> dict[str, float]:
    """Give the `rate` (echoes a second), `count`, `p50` and `p99` (µs). Raises BenchError, OSError."""
    socks: dict[int, socket.socket] = {}
    try:
        for _ in range(count):
            sock = _open(door)
            socks[sock.fileno()] = sock
        times = _echo(socks, seconds)
    finally:
        for sock in socks.values():
            sock.close()
    return {"rate": len(times) / seconds, "count": len(times), **tail(times)}


def _open(door: Door) -> socket.socket:
    sock = connect(door)
    try:
        sock.sendall(head("GET", door, PATH, *FIELDS))
        _, rest = read_head(sock, status=101)
    except BaseException:
        sock.close()
        raise
    if rest:
        raise BenchError(f"unasked-for bytes after the upgrade: {rest!r}")
    sock.setblocking(False)
    return sock


def _echo(socks: dict[int, socket.socket], seconds: float) -> list[float]:
    times: list[float] = []
    with select.epoll() as epoll:
        began: dict[int, int] = {}
        for number, sock in socks.items():
            epoll.register(number, select.EPOLLIN)
            began[number] = time.perf_counter_ns()
            sock.send(FRAME)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for number, _ in epoll.poll(0.5):
                if socks[number].recv(4096) != ANSWER:
                    raise BenchError("an echo was not what had been sent")
                now = time.perf_counter_ns()
                times.append((now - began[number]) / 1e3)
                began[number] = now
                socks[number].send(FRAME)
    if not times:
        raise BenchError("no echo came back")
    return times
