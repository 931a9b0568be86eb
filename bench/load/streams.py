"""A crowd of event streams, watched by one epoll: a task for each would cost more than the proxies do."""

from __future__ import annotations

import re
import select
import time
from typing import TYPE_CHECKING

from bench.children import BenchError
from bench.load.plain import connect, head

if TYPE_CHECKING:
    import socket

    from bench.peers.peer import Door

PATH = "/events"
#: Seconds in which something must come on each stream.
BEGIN = 30.0
#: Streams asked for that have not begun. More at once would measure the length of listen queues.
AT_ONCE = 512
#: Seconds from the last beginning until the figures count.
SETTLE = 0.3
_EVENT = re.compile(rb"data: ([0-9]+)\n\n")


class Crowd:
    """Open event streams; close it at the end."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._epoll = select.epoll()
        self._socks: dict[int, socket.socket] = {}
        self._waiting: set[int] = set()

    def grow(self, count: int) -> None:
        """Open streams until there are so many, and wait until all have begun. Raises BenchError, OSError."""
        request = head("GET", self._door, PATH, "Accept: text/event-stream", "User-Agent: bench")
        while len(self._socks) < count:
            sock = connect(self._door)
            sock.sendall(request)
            sock.setblocking(False)
            self._socks[sock.fileno()] = sock
            self._waiting.add(sock.fileno())
            self._epoll.register(sock, select.EPOLLIN)
            if len(self._waiting) >= AT_ONCE:
                self._await_beginnings(AT_ONCE // 2)
        self._await_beginnings(0)
        self.watch(SETTLE)

    def watch(self, seconds: float) -> list[float]:
        """Read events for so long; give the delay of each, in µs. Raises BenchError, OSError."""
        delays: list[float] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._turn(delays)
        return delays

    def close(self) -> None:
        for sock in self._socks.values():
            sock.close()
        self._epoll.close()

    def _await_beginnings(self, allowed: int) -> None:
        deadline = time.monotonic() + BEGIN
        while len(self._waiting) > allowed:
            self._turn([])
            if time.monotonic() > deadline:
                late = f"{len(self._waiting)} of {len(self._socks)} streams"
                raise BenchError(f"{late} did not begin in {BEGIN:g} s")

    def _turn(self, delays: list[float]) -> None:
        for number, _ in self._epoll.poll(0.05, 256):
            data = self._socks[number].recv(4096)
            now = time.monotonic_ns()
            if not data:
                raise BenchError("a stream was closed")
            if number in self._waiting:
                self._waiting.discard(number)
                if not data.startswith(b"HTTP/1.1 200 "):
                    raise BenchError(f"a stream was answered with {data[:40]!r}")
            delays += [(now - int(event[1])) / 1e3 for event in _EVENT.finditer(data)]
