"""Thousands of clients that leave at random points: descriptors, tasks and connections return to base.

Two thousand; with MUXI_FAULTS=full (make test-all) ten thousand. They are in the same process as the
proxy and its formation, so what any of the three leaves behind is seen.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import trio
import trio.lowlevel
import trio.testing

from tests.proxy.house import GET, Wire, open_house
from tests.waiting import until

if TYPE_CHECKING:
    from tests.proxy.house import House

CLIENTS = 10_000 if os.environ.get("MUXI_FAULTS") == "full" else 2_000
#: How many there are at a time.
CROWD = 100
BODY = 30_000
UPLOAD = b"POST /api/bot HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % BODY + b"x" * BODY
CHUNKED = (
    b"POST /api/bot/all HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"5\r\nhello\r\n" * 200
)
SILENT = b"GET /api/bot/silent HTTP/1.1\r\nHost: a\r\n\r\n"
STREAM = b"GET /api/bot/stream HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = b"GET /api/bot/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
APP = b"POST /rpc/x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % BODY + b"x" * BODY


async def formation(wire: Wire) -> None:
    """Answer at once, in a stream without an end, never, or by a tunnel that echoes: as the path says."""
    while True:
        head = await wire.head()
        if b" /silent " in head:
            await wire.rest()
            return
        if b" /stream " in head:
            await stream(wire)
        if b"pgrade: echo\r\n" in head:
            await echo(wire)
            return
        if b"\r\nTransfer-Encoding: chunked" in head:
            await wire.until(b"\r\n0\r\n\r\n")
        elif b" / " in head:
            await wire.exactly(BODY)
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def stream(wire: Wire) -> None:
    await wire.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    while True:
        await wire.send(b"9\r\ndata: x\n\n\r\n" * 10)
        await trio.lowlevel.checkpoint()


async def echo(wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
    while data := await wire.receive():
        await wire.send(data)


async def before_the_head(wire: Wire, dice: random.Random) -> None:
    await loiter(dice)


async def within_the_head(wire: Wire, dice: random.Random) -> None:
    await wire.send(GET[: dice.randrange(1, len(GET))])
    await loiter(dice)


async def within_the_body(wire: Wire, dice: random.Random) -> None:
    request = dice.choice([UPLOAD, CHUNKED])
    cut = dice.randrange(request.index(b"\r\n\r\n"), len(request))
    await wire.send(request[:cut])
    await loiter(dice)


async def within_a_body_for_the_app(wire: Wire, dice: random.Random) -> None:
    await wire.send(APP[: dice.randrange(20, len(APP))])
    await loiter(dice)


async def before_the_first_byte(wire: Wire, dice: random.Random) -> None:
    await wire.send(SILENT)
    await loiter(dice)


async def within_the_stream(wire: Wire, dice: random.Random) -> None:
    await wire.send(STREAM)
    for _ in range(dice.randrange(1, 4)):
        await wire.receive()


async def within_the_tunnel(wire: Wire, dice: random.Random) -> None:
    await wire.send(UPGRADE)
    assert b" 101 " in await wire.head()
    if dice.random() < 0.9:
        await wire.send(b"x" * dice.randrange(1, 5000))
        if dice.random() < 0.5:
            await wire.receive()


async def after_the_answer(wire: Wire, dice: random.Random) -> None:
    await wire.send(dice.choice([GET, UPLOAD, GET + GET]))
    await wire.receive()
    if dice.random() < 0.5:
        await wire.send(GET[: dice.randrange(1, len(GET))])


POINTS = (
    before_the_head,
    within_the_head,
    within_the_body,
    within_a_body_for_the_app,
    before_the_first_byte,
    within_the_stream,
    within_the_tunnel,
    after_the_answer,
)


async def loiter(dice: random.Random) -> None:
    """Let the others get some way, or none."""
    for _ in range(dice.randrange(6)):
        await trio.lowlevel.checkpoint()


async def come_and_go(house: House, dice: random.Random, gone: Counter[str]) -> None:
    sock = trio.socket.socket()
    await sock.connect(("127.0.0.1", house.port))
    wire = Wire(trio.SocketStream(sock))
    point = dice.choice(POINTS)
    await point(wire, dice)
    dice.choice([wire.leave, wire.reset])()
    gone[point.__name__] += 1


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def test_thousands_of_clients_that_leave_at_random_points_leave_nothing_behind() -> None:
    dice = random.Random(3)
    gone = Counter[str]()
    async with open_house() as house:
        target = await house.formation(formation)
        await (await house.connect()).ask(GET)
        house.clients.pop().leave()
        await until(lambda: house.listener.open_connections == 0)
        house.listener._context.upstreams.close()
        await trio.testing.wait_all_tasks_blocked(0.01)
        tasks = trio.lowlevel.current_statistics().tasks_living
        files = descriptors()

        async def crowd_member() -> None:
            for _ in range(CLIENTS // CROWD):
                await come_and_go(house, dice, gone)

        async with trio.open_nursery() as nursery:
            for _ in range(CROWD):
                nursery.start_soon(crowd_member)
        await until(lambda: house.listener.open_connections == 0)
        assert target.in_flight == 0
        # Nobody's leaving has spoilt what the others use.
        assert (await (await house.connect()).ask(GET)).body == b"ok"
        house.clients.pop().leave()
        await until(lambda: house.listener.open_connections == 0)
        house.listener._context.upstreams.close()
        await until(lambda: trio.lowlevel.current_statistics().tasks_living == tasks)
        assert descriptors() == files
        assert house.listener.tally.contained == 0
    assert gone.total() == CLIENTS
    assert len(gone) == len(POINTS)
    assert min(gone.values()) > CLIENTS / len(POINTS) / 2
