"""A formation may want to finish what it does for a client that has left."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from muxi.proxy.limits import Limits
from muxi.registry.routes import RoutePolicy, Target
from tests.proxy.house import GET, House, Script, Wire, open_house
from tests.waiting import until

CONTINUE = RoutePolicy(on_disconnect="continue")
FAST = Limits(write_stall_timeout=0.05, sweep_interval=0.01)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LEAVE = pytest.mark.parametrize("leave", [Wire.leave, Wire.reset], ids=["fin", "rst"])


class Worker:
    """A formation that works on when it is told to, and notes whether it could finish."""

    def __init__(self, *sends: bytes) -> None:
        self.sends = sends
        self.asked = trio.Event()
        self.go_on = trio.Event()
        self.finished = trio.Event()
        self.left = trio.Event()

    async def __call__(self, wire: Wire) -> None:
        head = await wire.head()
        if b"POST" in head:
            await wire.exactly(4)
        first, *rest = self.sends
        await wire.send(first)
        self.asked.set()
        await self.go_on.wait()
        try:
            for data in rest:
                await wire.send(data)
        except trio.BrokenResourceError:
            self.left.set()
            return
        self.finished.set()
        if await wire.gone():
            self.left.set()


async def formation(house: House, script: Script, policy: RoutePolicy = CONTINUE) -> Target:
    target = await house.formation(script)
    house.routes.live[b"bot"].policy = policy
    return target


async def wait(event: trio.Event) -> None:
    with trio.fail_after(20):
        await event.wait()


@LEAVE
@pytest.mark.parametrize("first", [b"", CHUNKED + b"2\r\nab\r\n"], ids=["no-byte-yet", "within"])
async def test_it_is_read_to_its_end_and_the_connection_kept(leave: object, first: bytes) -> None:
    rest = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    worker = Worker(first, *([] if first else [CHUNKED]), *[rest] * 500, b"0\r\n\r\n")
    async with open_house() as house:
        target = await formation(house, worker)
        wire = await house.connect()
        await wire.send(GET)
        await wait(worker.asked)
        if first:
            await wire.until(b"ab\r\n")
        assert callable(leave)
        leave(wire)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert target.in_flight == 1
        worker.go_on.set()
        await wait(worker.finished)
        await until(lambda: target.in_flight == 0)
        await until(lambda: house.listener.open_connections == 0)
        assert house.listener.tally.contained == house.listener.tally.upstream_failures == 0


async def test_by_default_it_is_cancelled() -> None:
    worker = Worker(CHUNKED)
    async with open_house() as house:
        target = await formation(house, worker, RoutePolicy())
        wire = await house.connect()
        await wire.send(GET)
        await wait(worker.asked)
        wire.leave()
        worker.go_on.set()
        await wait(worker.left)
        assert target.in_flight == 0


async def test_it_does_not_go_on_for_ever() -> None:
    worker = Worker(CHUNKED)
    async with open_house(limits=FAST) as house:
        target = await formation(house, worker, RoutePolicy(on_disconnect="continue", continue_timeout=0.05))
        wire = await house.connect()
        await wire.send(GET)
        await wait(worker.asked)
        wire.leave()
        worker.go_on.set()
        await wait(worker.left)
        await until(lambda: target.in_flight == 0)


async def test_a_client_that_takes_nothing_counts_as_one_that_has_left() -> None:
    rest = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    worker = Worker(CHUNKED, *[rest] * 32, b"0\r\n\r\n")
    async with open_house(limits=FAST) as house:
        target = await formation(house, worker)
        wire = await house.connect()
        await wire.send(GET)
        worker.go_on.set()
        await wait(worker.finished)
        await until(lambda: target.in_flight == 0)


async def test_a_body_that_does_not_come_whole_ends_it() -> None:
    async with open_house() as house:
        gone = trio.Event()

        async def script(wire: Wire) -> None:
            await wire.head()
            await wire.rest()
            gone.set()

        target = await formation(house, script)
        wire = await house.connect()
        await wire.send(b"POST /api/bot HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
        await until(lambda: target.in_flight == 1)
        wire.leave()
        await wait(gone)
        await until(lambda: target.in_flight == 0)


async def test_an_upload_that_is_complete_goes_on() -> None:
    worker = Worker(CHUNKED, b"2\r\nok\r\n0\r\n\r\n")
    async with open_house() as house:
        target = await formation(house, worker)
        wire = await house.connect()
        await wire.send(b"POST /api/bot HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo")
        await until(lambda: target.in_flight == 1)
        await wire.send(b"dy")
        await wait(worker.asked)
        wire.reset()
        worker.go_on.set()
        await wait(worker.finished)
        await until(lambda: target.in_flight == 0)


async def test_a_formation_that_breaks_off_is_noted_all_the_same() -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(CHUNKED)
        await left.wait()
        await wire.send(b"2\r\nab\r\n" * 100000)

    left = trio.Event()
    async with open_house() as house:
        target = await formation(house, script)
        wire = await house.connect()
        await wire.send(GET)
        await wire.head()
        wire.reset()
        left.set()
        await until(lambda: target.in_flight == 0)
        assert house.listener.tally.upstream_failures == 1
        assert house.listener.tally.contained == 0
