"""Streams: every piece goes on as soon as it has come, in both directions."""

from __future__ import annotations

import hashlib

import trio

from tests.proxy.house import GET, Wire, open_house
from tests.waiting import until

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


async def test_head_goes_on_before_any_body_and_each_event_at_once() -> None:
    turn = trio.Semaphore(0)

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(EVENTS + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            await turn.acquire()
            await wire.send(b"9\r\ndata: x\n\n\r\n")
        await turn.acquire()
        await wire.send(b"0\r\n\r\n")

    async with open_house() as house:
        await house.formation(script)
        wire = await house.connect()
        await wire.send(GET)
        assert b"text/event-stream" in await wire.head()
        for _ in range(3):
            turn.release()
            assert await wire.until(b"\n\n\r\n") == b"9\r\ndata: x\n\n\r\n"
        turn.release()
        assert await wire.until(b"0\r\n\r\n") == b"0\r\n\r\n"


async def test_stream_until_close_is_passed_on_at_once_too() -> None:
    turn = trio.Semaphore(0)

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(EVENTS + b"\r\n")
        await turn.acquire()
        await wire.send(b"data: x\n\n")
        await turn.acquire()

    async with open_house() as house:
        await house.formation(script)
        wire = await house.connect()
        await wire.send(GET)
        assert b"Transfer-Encoding: chunked" in await wire.head()
        turn.release()
        assert await wire.until(b"\n\n\r\n") == b"9\r\ndata: x\n\n\r\n"
        turn.release()
        assert await wire.until(b"\r\n\r\n") == b"0\r\n\r\n"


async def test_request_body_goes_on_as_it_comes_and_the_response_beside_it() -> None:
    async def mirror(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await wire.send(await wire.until(b"\r\n"))

    async with open_house() as house:
        await house.formation(mirror)
        wire = await house.connect()
        await wire.send(b"POST /api/bot HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        await wire.head()
        for piece in (b"1\r\n", b"a\r\n", b"2\r\n", b"bc\r\n", b"0\r\n", b"\r\n"):
            await wire.send(piece)
            assert await wire.until(b"\r\n") == piece


async def test_bulk_both_ways_arrives_whole() -> None:
    size = 8 << 20
    data = bytes(range(256)) * (size // 256)

    async def script(wire: Wire) -> None:
        await wire.head()
        body = hashlib.sha256()
        left = size
        while left:
            part = await wire.receive()
            body.update(part)
            left -= len(part)
        await wire.send(b"HTTP/1.1 200 OK\r\nX-Sum: %b\r\n\r\n" % body.hexdigest().encode())
        await wire.stream.send_all(data)

    async with open_house() as house:
        await house.formation(script)
        wire = await house.connect()
        async with trio.open_nursery() as nursery:
            head = b"POST /api/bot HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
            nursery.start_soon(wire.send, head + data)
            reply = await wire.reply()
        assert reply.header(b"x-sum") == hashlib.sha256(data).hexdigest().encode()
        assert reply.body == data


async def test_a_formation_that_does_not_read_holds_the_client_back() -> None:
    release = trio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await release.wait()
        await wire.rest()

    async with open_house() as house:
        target = await house.formation(script)
        wire = await house.connect()
        sock = wire.stream.socket
        await wire.send(b"POST /api/bot HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n")
        await until(lambda: target.in_flight == 1)
        sent = 0
        with trio.move_on_after(0.5):
            while True:
                sent += await sock.send(b"x" * 65536)
        # What is between the two is what the kernel's buffers hold, not the whole.
        assert sent < 64 << 20
        release.set()


async def test_small_requests_go_on_beside_a_bulk_transfer() -> None:
    async def script(wire: Wire) -> None:
        if b"bulk" not in await wire.head():
            await wire.send(b"HTTP/1.1 200 OK\r\n\r\nsmall")
            return
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await wire.stream.send_all(b"x" * (1 << 20))

    async def drink(wire: Wire) -> None:
        while True:
            await wire.receive()

    async with open_house() as house:
        await house.formation(script)
        bulk = await house.connect()
        await bulk.send(GET.replace(b"/x", b"/bulk"))
        await bulk.head()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drink, bulk)
            for _ in range(10):
                assert (await (await house.connect()).ask(GET)).body == b"small"
            nursery.cancel_scope.cancel()
