"""The proxy's own answers, and requests that never reach a formation."""

from __future__ import annotations

import json
import socket

import pytest
import trio

from muxi.proxy.limits import Limits
from muxi.registry.routes import Route
from tests.proxy.house import GET, OK, House, Reply, Wire, canned, open_house
from tests.waiting import until


def told(reply: Reply) -> tuple[int, str, str]:
    """Status, code and message; checks that the shape is the one that all clients read."""
    content = json.loads(reply.body)
    assert content["success"] is False
    assert content["data"] == {}
    assert content["code"] == reply.status
    assert content["error"]["message"] == content["message"]
    assert reply.header(b"content-type") == b"application/json"
    assert reply.header(b"date")
    return reply.status, content["error"]["code"], content["message"]


async def ask(house: House, target: bytes) -> Reply:
    return await (await house.connect()).ask(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")


async def test_unknown_formation() -> None:
    async with open_house() as house:
        reply = await ask(house, b"/api/x/y")
        assert told(reply) == (404, "FORMATION_NOT_FOUND", "No formation with id 'x'")
        reply = await ask(house, b"/draft/x")
        assert told(reply) == (404, "FORMATION_NOT_FOUND", "No draft formation with id 'x'")
        assert told(await ask(house, b"/mcp/x"))[0] == 404


async def test_ids_are_escaped() -> None:
    async with open_house() as house:
        assert told(await ask(house, b'/api/"}\\{"/x'))[2] == "No formation with id '\"}\\{\"'"


@pytest.mark.parametrize("target", [b"/api/\xff", b"/api/bot/caf\xc3\xa9", b"/x?q=\x80"])
async def test_a_target_with_bytes_beyond_ascii_is_refused_with_the_cure(target: bytes) -> None:
    async with open_house() as house:
        status, code, message = told(await ask(house, target))
        assert (status, code) == (400, "BAD_REQUEST")
        assert "%XX" in message


async def test_formation_that_is_not_running() -> None:
    async with open_house() as house:
        house.routes.publish("bot", "crashed", None)
        house.routes.draft[b"bot"] = Route("bot", "stopped")
        reply = await ask(house, b"/api/bot")
        message = "Formation 'bot' is not running (status: crashed)"
        assert told(reply) == (503, "FORMATION_UNAVAILABLE", message)
        assert int(reply.header(b"retry-after") or b"0") > 0
        message = "Draft formation 'bot' is not running (status: stopped)"
        assert told(await ask(house, b"/draft/bot"))[2] == message


async def test_head_of_an_unknown_formation_has_no_body() -> None:
    async with open_house() as house:
        wire = await house.connect()
        await wire.send(b"HEAD /api/x HTTP/1.1\r\nHost: a\r\n\r\n" + b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await wire.reply(b"HEAD")).status == 404
        assert (await wire.reply()).body == b"pong"


async def test_refused_connection() -> None:
    async with open_house() as house:
        target = await house.formation(canned(OK))
        with socket.create_server(("127.0.0.1", 0)) as free:
            target.port = free.getsockname()[1]
        wire = await house.connect()
        assert told(await wire.ask(GET)) == (502, "BAD_GATEWAY", "Formation did not respond")
        assert (await wire.ask(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")).body == b"pong"
        assert target.in_flight == 0


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n",
    ],
)
async def test_formation_that_does_not_answer_properly(response: bytes) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(response)

    async with open_house() as house:
        await house.formation(script)
        wire = await house.connect()
        assert told(await wire.ask(GET))[0] == 502
        assert (await wire.ask(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")).body == b"pong"
        assert house.listener.tally.upstream_failures == 1


@pytest.mark.parametrize("route", [b"/api/bot", b"/rpc/x"])
@pytest.mark.parametrize(
    ("request_lines", "status"),
    [
        (b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
        (b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx", 400),
        (b"GET %b HTTP/1.1\nHost: a\n\n", 400),
        (b"GET %b HTTP/1.1\r\nHost: a\r\n fold\r\n\r\n", 400),
        (b"GET %b HTTP/1.1\r\n\r\n", 400),
        (b"GET %b HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        (b"GET %b" + b"a" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET %b HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70000 + b"\r\n\r\n", 431),
        (b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    ],
)
async def test_malformed_requests_are_refused_and_closed(
    route: bytes, request_lines: bytes, status: int
) -> None:
    reached = []

    async def script(wire: Wire) -> None:
        reached.append(await wire.head())

    async with open_house() as house:
        await house.formation(script)
        wire = await house.connect()
        reply = await wire.ask(request_lines.replace(b"%b", route, 1))
        assert reply.status == status
        assert reply.header(b"connection") == b"close"
        assert await wire.gone()
        assert reached == []


async def test_slow_head_is_told_so_and_closed() -> None:
    limits = Limits(head_timeout=0.5, sweep_interval=0.01)
    async with open_house(limits=limits) as house:
        wire = await house.connect()
        await wire.send(b"GET /api/bot HTTP/1.1\r\nHo")
        assert told(await wire.reply())[0] == 408
        assert await wire.gone()
        assert house.listener.tally.expired == 1


async def test_idle_connection_is_closed_without_a_word() -> None:
    async with open_house(limits=Limits(idle_timeout=0.5, sweep_interval=0.01)) as house:
        wire = await house.connect()
        assert (await wire.ask(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")).body == b"pong"
        assert await wire.gone()


async def test_body_that_stops_coming_is_given_up() -> None:
    async with open_house(limits=Limits(body_idle_timeout=0.05, sweep_interval=0.01)) as house:
        target = await house.formation(Wire.rest)
        wire = await house.connect()
        await wire.send(b"POST /api/bot HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        assert told(await wire.reply())[0] == 408
        assert await wire.gone()
        await until(lambda: target.in_flight == 0)


async def test_client_that_does_not_read_is_given_up() -> None:
    async def flood(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await wire.send(b"x" * 65536)

    async with open_house(limits=Limits(write_stall_timeout=0.05, sweep_interval=0.01)) as house:
        target = await house.formation(flood)
        wire = await house.connect()
        await wire.send(GET)
        await until(lambda: house.listener.tally.expired == 1)
        await until(lambda: target.in_flight == 0)


async def test_a_silent_formation_is_waited_for() -> None:
    release = trio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await release.wait()
        await wire.send(OK)

    limits = Limits(head_timeout=0.3, idle_timeout=0.3, body_idle_timeout=0.3, sweep_interval=0.01)
    async with open_house(limits=limits) as house:
        target = await house.formation(script)
        wire = await house.connect()
        await wire.send(GET)
        await until(lambda: target.in_flight == 1)
        other = await house.connect()
        assert await other.gone()  # So the sweep has come by, more than once.
        release.set()
        assert (await wire.reply()).body == b"ok"
