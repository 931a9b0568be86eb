"""Asking a service who it is, as often as it takes."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from bench.children import BenchError
from bench.peers.peer import HOST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.peers.peer import Door

PAUSE = 0.001
PATIENCE = 300.0
ANSWER_SECONDS = 60.0


def pid_at(door: Door) -> int | None:
    """Return the pid that the service answers with; None when it does not answer well."""
    request = f"GET {door.path('/')} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    answer = b""
    try:
        with socket.create_connection((HOST, door.port), timeout=ANSWER_SECONDS) as client:
            client.sendall(request.encode())
            while block := client.recv(65536):
                answer += block
    except OSError:
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(body) if head.startswith(b"HTTP/1.1 200 ") and body.isdigit() else None


def next_pid(door: Door, previous: int | None = None) -> int:
    """Ask until another process than the previous one answers; return its pid. Raises BenchError."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = pid_at(door)
        if found is not None and found != previous:
            return found
        time.sleep(PAUSE)
    raise BenchError(f"port {door.port} has no other answer after {PATIENCE:g} s")


def all_answer(doors: Iterable[Door]) -> None:
    """Return once each service has answered. Raises BenchError."""
    for door in doors:
        next_pid(door)
