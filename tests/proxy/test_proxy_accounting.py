"""What is counted of a formation's requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from muxi.registry.routes import Target
from tests.proxy.house import GET, OK, Wire, canned, open_house
from tests.waiting import until

if TYPE_CHECKING:
    from muxi.registry.traffic import TrafficView
    from tests.proxy.house import House


def view(house: House, name: bytes = b"bot") -> TrafficView:
    return house.routes.live[name].traffic.snapshot()


async def settled(house: House, requests: int) -> TrafficView:
    await until(lambda: view(house).requests == requests)
    return view(house)


def answer(status: bytes, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 " + status + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize(
    ("status", "group"),
    [(b"200 OK", "2xx"), (b"304 Not Modified", "3xx"), (b"418 Teapot", "4xx"), (b"599 Odd", "5xx")],
)
async def test_responses_by_status(status: bytes, group: str) -> None:
    async with open_house() as house:
        await house.formation(canned(answer(status)))
        wire = await house.connect()
        await wire.ask(GET)
        await wire.ask(GET)
        found = await settled(house, 2)
        assert {name: count for name, count in found.by_status.items() if count} == {group: 2}
        assert (found.in_flight, found.first_byte.count) == (0, 2)


async def test_bytes_of_bodies_both_ways() -> None:
    async def echo(wire: Wire) -> None:
        while True:
            head = await wire.head()
            if b"chunked" in head:
                body = await wire.until(b"0\r\n\r\n")
            else:
                body = await wire.exactly(int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
            await wire.send(answer(b"200 OK", body))

    async with open_house() as house:
        await house.formation(echo)
        wire = await house.connect()
        small = b"POST /api/bot HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        assert (await wire.ask(small)).body == b"hello"
        found = await settled(house, 1)
        assert (found.bytes_in, found.bytes_out) == (5, 5)
        large = b"x" * 1_000_000
        head = b"POST /api/bot HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(large)
        assert (await wire.ask(head + large)).body == large
        found = await settled(house, 2)
        assert (found.bytes_in, found.bytes_out) == (1_000_005, 1_000_005)


async def test_what_is_under_way_and_a_client_that_leaves() -> None:
    async def silent(wire: Wire) -> None:
        await wire.head()
        assert await wire.gone()

    async with open_house() as house:
        await house.formation(silent)
        wire = await house.connect()
        await wire.send(GET)
        await until(lambda: view(house).in_flight == 1)
        assert house.listener.tally.in_flight == 1
        wire.leave()
        found = await settled(house, 1)
        assert (found.in_flight, found.cancelled, found.first_byte.count) == (0, 1, 0)
        assert sum(found.by_status.values()) == 0
        assert house.listener.tally.in_flight == 0


async def test_an_event_stream_from_its_first_event_to_its_end() -> None:
    more = trio.Event()

    async def stream(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        await more.wait()
        await wire.send(b"data: 1\n\n")
        await wire.send(b"data: 2\n\n")

    async with open_house() as house:
        await house.formation(stream)
        wire = await house.connect()
        await wire.send(GET)
        await wire.head()
        await until(lambda: view(house).streams == 1)
        found = view(house)
        assert (found.first_byte.count, found.first_event.count, found.stream_seconds.count) == (1, 0, 0)
        more.set()
        await wire.until(b"0\r\n\r\n")
        found = await settled(house, 1)
        assert (found.streams, found.first_event.count, found.stream_seconds.count) == (0, 1, 1)
        assert found.first_event.total >= found.first_byte.total
        assert found.bytes_out >= 18


async def test_an_event_that_comes_with_the_head() -> None:
    async def stream(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")

    async with open_house() as house:
        await house.formation(stream)
        await (await house.connect()).ask(GET)
        assert (await settled(house, 1)).first_event.count == 1


async def test_a_formation_that_takes_no_connection() -> None:
    async with open_house() as house:
        with trio.socket.socket() as unused:
            await unused.bind(("127.0.0.1", 0))
            house.routes.publish("bot", "running", Target("127.0.0.1", unused.getsockname()[1]))
            assert (await (await house.connect()).ask(GET)).status >= 500
        found = await settled(house, 1)
        assert found.connect_errors >= 1
        assert found.by_status["5xx"] == 1


async def test_a_formation_that_answers_nonsense() -> None:
    async with open_house() as house:
        await house.formation(canned(b"nonsense\r\n\r\n"))
        assert (await (await house.connect()).ask(GET)).status == 502
        found = await settled(house, 1)
        assert (found.upstream_failures, found.by_status["5xx"]) == (1, 1)


async def test_a_retry_on_a_new_connection() -> None:
    async def once(wire: Wire) -> None:
        await wire.head()
        await wire.send(OK)
        await wire.head()

    async with open_house() as house:
        await house.formation(once)
        wire = await house.connect()
        assert (await wire.ask(GET)).status == 200
        assert (await wire.ask(GET)).status == 200
        assert (await settled(house, 2)).retries == 1


async def test_unknown_ids_leave_no_entry() -> None:
    async with open_house() as house:
        await house.formation(canned(OK))
        wire = await house.connect()
        for number in range(20):
            assert (await wire.ask(b"GET /api/x%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)).status == 404
        assert list(house.routes.live) == [b"bot"]
        assert view(house).requests == 0


async def test_counts_outlive_the_process_but_not_the_formation() -> None:
    async with open_house() as house:
        await house.formation(canned(OK))
        await (await house.connect()).ask(GET)
        house.routes.publish("bot", "restarting", None)
        await house.formation(canned(OK))
        await (await house.connect()).ask(GET)
        assert (await settled(house, 2)).by_status["2xx"] == 2
        house.routes.withdraw("bot")
        await house.formation(canned(OK))
        assert view(house).requests == 0
