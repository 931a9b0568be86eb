"""Large bodies, each way, over one connection, by blocking calls of 256 kB."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.children import BenchError
from bench.load.plain import connect, content_length, head, read_head

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from bench.peers.peer import Door

BLOCK = 256 << 10
LAST_CHUNK = b"0\r\n\r\n"


def download(door: Door, path: str) -> float:
    """Read a body to its end; give the seconds it took. Raises BenchError, OSError."""
    with connect(door) as sock:
        began = time.perf_counter()
        sock.sendall(head("GET", door, path))
        found, rest = read_head(sock)
        length = content_length(found)
        if length is None:
            _skip_chunks(sock, rest)
        else:
            _skip(sock, length - len(rest))
        return time.perf_counter() - began


def upload(door: Door, path: str, size: int, *, chunked: bool) -> float:
    """Send a body of so many bytes; give the seconds until it is answered. Raises BenchError, OSError."""
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    block, last = (_chunk(), LAST_CHUNK) if chunked else (bytes(BLOCK), b"")
    with connect(door) as sock:
        began = time.perf_counter()
        sock.sendall(head("POST", door, path, framing, "Content-Type: application/octet-stream"))
        for _ in range(size // BLOCK):
            sock.sendall(block)
        sock.sendall(last)
        found, rest = read_head(sock)
        _skip(sock, (content_length(found) or 0) - len(rest))
        return time.perf_counter() - began


@contextmanager
def flood(door: Door) -> Iterator[dict[str, int]]:
    """Download and upload at full speed until the end of the block; counts the bytes meanwhile.

    Raises BenchError, OSError at the end of the block, if one of the two has not gone on until then.
    """
    moved = {"download": 0, "upload": 0}
    stop = threading.Event()
    with ThreadPoolExecutor(2) as threads:
        tasks = [threads.submit(task, door, moved, stop) for task in (_download_until, _upload_until)]
        try:
            yield moved
        finally:
            stop.set()
        for task in tasks:
            task.result()


def _download_until(door: Door, moved: dict[str, int], stop: threading.Event) -> None:
    space = bytearray(BLOCK)
    with connect(door) as sock:
        sock.sendall(head("GET", door, "/bulk?endless"))
        while not stop.is_set():
            size = sock.recv_into(space)
            if not size:
                raise BenchError("an endless download has ended")
            moved["download"] += size


def _upload_until(door: Door, moved: dict[str, int], stop: threading.Event) -> None:
    block = _chunk()
    with connect(door) as sock:
        sock.sendall(head("POST", door, "/sink", "Transfer-Encoding: chunked"))
        while not stop.is_set():
            sock.sendall(block)
            moved["upload"] += len(block)


def _chunk() -> bytes:
    return b"%x\r\n%b\r\n" % (BLOCK, bytes(BLOCK))


def _skip(sock: socket.socket, left: int) -> None:
    space = bytearray(BLOCK)
    while left > 0:
        size = sock.recv_into(space, min(left, BLOCK))
        if not size:
            raise BenchError("the connection was closed within a body")
        left -= size


def _skip_chunks(sock: socket.socket, rest: bytes) -> None:
    """Read until the last chunk has come: what it looks like is in no body of ours."""
    space = bytearray(BLOCK)
    ending = rest[-len(LAST_CHUNK) :]
    while ending != LAST_CHUNK:
        size = sock.recv_into(space)
        if not size:
            raise BenchError("the connection was closed within a body")
        ending = (ending + space[max(0, size - len(LAST_CHUNK)) : size])[-len(LAST_CHUNK) :]
