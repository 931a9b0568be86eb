"""A client that leaves ends its request at the formation at once, and leaves nothing behind."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
import trio.lowlevel

from tests.proxy.house import GET, OK, House, Wire, canned, open_house
from tests.waiting import until

LEAVE = pytest.mark.parametrize("leave", [Wire.leave, Wire.reset], ids=["fin", "rst"])


class Watched:
    """A formation that sends what it is told and then notes that its peer has gone."""

    def __init__(self, *sends: bytes) -> None:
        self.sends = sends
        self.asked = trio.Event()
        self.left = trio.Event()

    async def __call__(self, wire: Wire) -> None:
        await wire.head()
        for data in self.sends:
            await wire.send(data)
        self.asked.set()
        while not await wire.gone():
            pass
        self.left.set()


async def check(house: House, watched: Watched, request: bytes, leave: object) -> None:
    target = await house.formation(watched)
    wire = await house.connect()
    await wire.send(request)
    with trio.fail_after(20):
        await watched.asked.wait()
        assert callable(leave)
        leave(wire)
        await watched.left.wait()
    await until(lambda: target.in_flight == 0)
    await until(lambda: house.listener.open_connections == 0)


@LEAVE
async def test_while_waiting_for_the_first_byte(leave: object) -> None:
    async with open_house() as house:
        await check(house, Watched(), GET, leave)


@LEAVE
async def test_in_a_quiet_event_stream(leave: object) -> None:
    async with open_house() as house:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        await check(house, Watched(head, b"data: x\n\n"), GET, leave)


@LEAVE
async def test_within_an_upload(leave: object) -> None:
    async with open_house() as house:
        request = b"POST /api/bot HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf"
        await check(house, Watched(), request, leave)


@LEAVE
async def test_with_another_request_waiting_behind(leave: object) -> None:
    async with open_house() as house:
        await check(house, Watched(), GET + GET, leave)


async def test_who_has_left_before_is_not_asked_for() -> None:
    async with open_house() as house:
        target = await house.formation(canned(OK))
        for _ in range(20):
            wire = await house.connect()
            await wire.send(GET)
            wire.reset()
        await until(lambda: house.listener.tally.connections == 20)
        await until(lambda: house.listener.open_connections == 0)
        assert target.in_flight == 0


async def slow_talker(wire: Wire) -> None:
    """Answer in steps with others let in between, so that clients leave at any point."""
    while True:
        head = await wire.head()
        if b"POST" in head:
            await wire.exactly(20000)
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(5):
            await wire.send(b"5\r\nhello\r\n")
            await trio.lowlevel.checkpoint()
        await wire.send(b"0\r\n\r\n")


async def fickle(house: House, dice: random.Random) -> None:
    wire = Wire(await trio.open_tcp_stream("127.0.0.1", house.port))
    request = GET * 2
    if dice.random() < 0.5:
        request = b"POST /api/bot HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + b"x" * 20000
    if dice.random() < 0.2:
        request = b"POST /rpc HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + b"x" * 20000
    await wire.send(request[: dice.randint(0, len(request))])
    for _ in range(dice.randint(0, 4)):
        with trio.move_on_after(0.01):
            await wire.receive()
    dice.choice([wire.leave, wire.reset])()


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def test_a_thousand_clients_that_leave_at_any_point_leave_nothing_behind() -> None:
    dice = random.Random(7)
    async with open_house() as house:
        target = await house.formation(slow_talker)
        await (await house.connect()).ask(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        house.clients.pop().leave()
        await until(lambda: house.listener.open_connections == 0)
        tasks = trio.lowlevel.current_statistics().tasks_living
        files = descriptors()
        for _ in range(20):
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(fickle, house, dice)
        await until(lambda: house.listener.open_connections == 0)
        assert target.in_flight == 0
        house.listener._context.upstreams.close()
        await until(lambda: trio.lowlevel.current_statistics().tasks_living == tasks)
        assert descriptors() == files
        assert house.listener.tally.contained == 0
