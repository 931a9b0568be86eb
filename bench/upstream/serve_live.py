"""A formation: event streams, endless bodies, WebSockets that echo, on $PORT and the cores of the load.

GET  /events   one event a second, with the time (CLOCK_MONOTONIC, ns) at which it was sent
GET  /bulk     BENCH_BULK bytes in chunks; with ?endless, without an end
POST /sink     swallows a body and tells how long it was
GET  /echo     WebSocket
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import os
import socket
import threading
import time
from collections import deque

import trio

READ = 256 << 10
BLOCK = b"%x\r\n%b\r\n" % (READ, b"x" * READ)
TURN = 4
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Ticker(threading.Thread):
    """Sends every stream an event a second, all of them spread evenly over the second.

    A thread, because it sleeps for tens of microseconds, where an event loop counts milliseconds.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.arrivals: deque[socket.socket] = deque()

    def run(self) -> None:
        streams: list[tuple[float, int, socket.socket]] = []
        serial = 0
        while True:
            while self.arrivals:
                serial += 1
                due = time.monotonic() + serial * 0.6180339887 % 1
                heapq.heappush(streams, (due, serial, self.arrivals.popleft()))
            now = time.monotonic()
            if not streams or streams[0][0] > now:
                time.sleep(min(0.005, streams[0][0] - now) if streams else 0.005)
                continue
            due, number, sock = streams[0]
            event = b"data: %d\n\n" % time.monotonic_ns()
            try:
                sock.send(b"%x\r\n%b\r\n" % (len(event), event))
                heapq.heapreplace(streams, (due + 1, number, sock))
            except OSError:
                heapq.heappop(streams)


class Chunks:
    """Counts the bytes of a chunked body."""

    def __init__(self) -> None:
        self.total = self.skip = 0
        self.line = b""
        self.done = False

    def feed(self, data: bytes) -> None:
        at = 0
        while at < len(data) and not self.done:
            if self.skip:
                step = min(self.skip, len(data) - at)
                self.skip -= step
                at += step
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self.line += data[at:]
                return
            size = int((self.line + data[at:end]).strip() or b"0", 16)
            self.line, at = b"", end + 1
            self.total += size
            self.skip = size + 2
            self.done = not size


class Client:
    def __init__(self, sock: socket.socket, ticker: Ticker) -> None:
        self.sock, self.ticker, self.buffer = sock, ticker, b""

    async def run(self) -> None:
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while await self.serve_one():
                pass
        except OSError:
            pass
        finally:
            self.sock.close()

    async def read(self) -> bytes:
        while True:
            try:
                return self.sock.recv(READ)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self.sock)

    async def send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.sock.send(rest) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.sock)

    async def serve_one(self) -> bool:
        while b"\r\n\r\n" not in self.buffer:
            data = await self.read()
            if not data:
                return False
            self.buffer += data
        block, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = block.split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        target = first.split(b" ")[1]
        if target == b"/events":
            return await self.events()
        if target.startswith(b"/bulk"):
            return await self.bulk(endless=b"endless" in target)
        if target == b"/sink":
            return await self.sink(headers)
        if target == b"/echo":
            return await self.echo(headers)
        await self.answer(b"{}")
        return True

    async def answer(self, body: bytes) -> None:
        await self.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )

    async def events(self) -> bool:
        await self.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        self.ticker.arrivals.append(self.sock)
        self.buffer = b""
        while await self.read():
            pass
        return False

    async def bulk(self, *, endless: bool) -> bool:
        await self.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        left = int(os.environ["BENCH_BULK"]) // READ
        while left or endless:
            left -= 1
            await self.send(BLOCK)
            if left % TURN == 0:
                await trio.lowlevel.checkpoint()
        await self.send(b"0\r\n\r\n")
        return True

    async def sink(self, headers: dict[bytes, bytes]) -> bool:
        if headers.get(b"expect"):
            await self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        chunks = Chunks() if b"transfer-encoding" in headers else None
        length, total, turn = int(headers.get(b"content-length", b"0")), 0, 0
        data, self.buffer = self.buffer, b""
        while True:
            total += len(data)
            if chunks:
                chunks.feed(data)
            if chunks.done if chunks else total >= length:
                break
            data = await self.read()
            if not data:
                return False
            turn += 1
            if turn % TURN == 0:
                await trio.lowlevel.checkpoint()
        await self.answer(b'{"bytes":%d}' % (chunks.total if chunks else total))
        return True

    async def echo(self, headers: dict[bytes, bytes]) -> bool:
        digest = hashlib.sha1(headers[b"sec-websocket-key"] + GUID).digest()
        await self.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % base64.b64encode(digest)
        )
        data, self.buffer = self.buffer, b""
        while True:
            # Small whole messages, masked with zeros: that is what the load sends.
            while len(data) >= 6 and len(data) >= (size := 6 + (data[1] & 0x7F)):
                if data[0] & 0x0F == 8:
                    return False
                await self.send(b"%c%c%b" % (data[0], size - 6, data[6:size]))
                data = data[size:]
            more = await self.read()
            if not more:
                return False
            data += more


async def main() -> None:
    os.sched_setaffinity(0, map(int, os.environ["BENCH_CORES"].split(",")))
    ticker = Ticker()
    ticker.start()
    listening = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=4096)
    listening.setblocking(False)
    async with trio.open_nursery() as nursery:
        while True:
            await trio.lowlevel.wait_readable(listening)
            try:
                while True:
                    nursery.start_soon(Client(listening.accept()[0], ticker).run)
            except BlockingIOError:
                continue


if __name__ == "__main__":
    trio.run(main)
