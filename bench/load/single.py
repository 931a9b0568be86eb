"""One request after the other on one connection, by blocking calls: no event loop in the figure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.children import BenchError
from bench.figures import tail
from bench.load.plain import connect, content_length, head, read_head

if TYPE_CHECKING:
    import socket

    from bench.peers.peer import Door

PATH = "/small"
WARM_UP = 200


def run(door: Door, requests: int) -> dict[str, float]:
    """Give the `p50` and `p99` of a request's time, in µs. Raises BenchError, OSError."""
    request = head("GET", door, PATH, "Accept: application/json", "User-Agent: bench")
    times: list[float] = []
    with connect(door) as sock:
        sock.sendall(request)
        found, rest = read_head(sock)
        size = len(found) + 4 + (content_length(found) or 0)
        _read(sock, size - len(found) - 4 - len(rest))
        for _ in range(WARM_UP + requests):
            began = time.perf_counter_ns()
            sock.sendall(request)
            answer = sock.recv(65536)
            if len(answer) != size:
                _read(sock, size - len(answer))
            times.append((time.perf_counter_ns() - began) / 1e3)
    return tail(times[WARM_UP:])


def _read(sock: socket.socket, size: int) -> None:
    while size > 0:
        data = sock.recv(size)
        if not data:
            raise BenchError("the connection was closed within an answer")
        size -= len(data)
