"""A steady load on a formation: so many requests a second, and so many streams open all the time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from bench.peers.peer import HOST

if TYPE_CHECKING:
    from bench.peers.peer import Door

CONNECTIONS = 25
ANSWER_SECONDS = 60.0


@dataclass(slots=True)
class Seen:
    """What clients saw: when each request began and how long it took (seconds), and what went wrong."""

    times: list[tuple[float, float]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    streams: int = 0
    cut: list[str] = field(default_factory=list)

    def between(self, start: float, end: float) -> list[float]:
        """Give the times of the requests that were under way in that interval."""
        return [took for began, took in self.times if began + took >= start and began <= end]


async def load(door: Door, seen: Seen, *, rate: float, streams: int) -> None:
    """Ask until cancelled."""
    async with trio.open_nursery() as nursery:
        for number in range(CONNECTIONS):
            nursery.start_soon(_ask, door, seen, CONNECTIONS / rate, number / rate)
        for number in range(streams):
            nursery.start_soon(_watch, door, seen, number * 0.02)


async def _ask(door: Door, seen: Seen, pause: float, delay: float) -> None:
    await trio.sleep(delay)
    request = f"GET {door.path('/')} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    while True:
        try:
            async with await trio.open_tcp_stream(HOST, door.port) as connection:
                while True:
                    began = time.perf_counter()
                    await connection.send_all(request)
                    answer = await _answer(connection)
                    took = time.perf_counter() - began
                    seen.times.append((began, took))
                    if not answer.startswith(b"HTTP/1.1 200 "):
                        seen.lost.append(repr(answer[:200]))
                    await trio.sleep(max(0.0, pause - took))
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            seen.lost.append(repr(error))


async def _answer(connection: trio.SocketStream) -> bytes:
    answer = b""
    with trio.fail_after(ANSWER_SECONDS):
        while not answer.endswith(b"}"):
            block = await connection.receive_some()
            if not block:
                raise trio.BrokenResourceError("closed")
            answer += block
    return answer


async def _watch(door: Door, seen: Seen, delay: float) -> None:
    await trio.sleep(delay)
    request = f"GET {door.path('/stream')} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    while True:
        last = b""
        try:
            async with await trio.open_tcp_stream(HOST, door.port) as connection:
                await connection.send_all(request)
                while not last.endswith(b"0\r\n\r\n"):
                    block = await connection.receive_some()
                    if not block:
                        break
                    last = (last + block)[-4096:]
        except (OSError, trio.BrokenResourceError) as error:
            seen.cut.append(repr(error))
            continue
        seen.streams += 1
        if b"data: end\n\n" not in last:
            seen.cut.append(repr(last[-200:]))
