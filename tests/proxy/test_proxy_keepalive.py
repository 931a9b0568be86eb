"""Connections that go on: clients', with requests of all kinds on one, and those to formations."""

from __future__ import annotations

import pytest
import trio

from muxi.registry.routes import Target
from tests.proxy.house import GET, OK, Wire, canned, open_house
from tests.waiting import until

PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
RPC = b"POST /rpc/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"


def counted(response: bytes = OK) -> tuple[list[int], object]:
    connections = [0]

    async def script(wire: Wire) -> None:
        connections[0] += 1
        await canned(response)(wire)

    return connections, script


async def test_one_client_connection_serves_all_kinds_in_turn() -> None:
    async with open_house() as house:
        await house.formation(canned(OK))
        wire = await house.connect()
        for _ in range(3):
            assert (await wire.ask(RPC)).body == b"/rpc/x:abc"
            assert (await wire.ask(GET)).body == b"ok"
            assert (await wire.ask(PING)).body == b"pong"
        assert house.listener.tally.connections == 1


async def test_pipelined_requests_of_all_kinds_are_answered_in_order() -> None:
    upload = b"POST /api/bot HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"

    async def script(wire: Wire) -> None:
        while True:
            head = await wire.head()
            if head.startswith(b"POST"):
                await wire.exactly(2)
            await wire.send(OK.replace(b"ok", head[:2]))

    chunked = b"POST /rpc/c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    async with open_house() as house:
        await house.formation(script)
        wire = await house.connect()
        await wire.send(
            (GET + RPC + upload + PING + chunked + b"GET /api/none HTTP/1.1\r\nHost: a\r\n\r\n") * 3
        )
        for _ in range(3):
            assert (await wire.reply()).body == b"GE"
            assert (await wire.reply()).body == b"/rpc/x:abc"
            assert (await wire.reply()).body == b"PO"
            assert (await wire.reply()).body == b"pong"
            assert (await wire.reply()).body == b"/rpc/c:abc"
            assert (await wire.reply()).status == 404


async def test_formation_connections_are_used_again() -> None:
    connections, script = counted()
    async with open_house() as house:
        await house.formation(script)  # type: ignore[arg-type]
        for _ in range(3):
            wire = await house.connect()
            for _ in range(3):
                assert (await wire.ask(GET)).body == b"ok"
        assert connections == [1]


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"surplus",
    ],
)
async def test_formation_connections_that_should_not_go_on_do_not(response: bytes) -> None:
    connections, script = counted(response)
    async with open_house() as house:
        await house.formation(script)  # type: ignore[arg-type]
        wire = await house.connect()
        for _ in range(2):
            assert (await wire.ask(GET)).body == b"ok"
        assert connections == [2]


async def test_idle_formation_connections_are_closed_in_time() -> None:
    left = trio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(OK)
        assert await wire.gone()
        left.set()

    async with open_house() as house:
        target = await house.formation(script)
        assert (await (await house.connect()).ask(GET)).body == b"ok"
        context = house.listener._context
        context.upstreams.sweep()
        assert not left.is_set()
        context.clock.now += 3.0
        context.upstreams.sweep()
        with trio.fail_after(20):
            await left.wait()
        assert target not in context.upstreams._pools


async def test_a_new_target_gets_connections_of_its_own() -> None:
    async with open_house() as house:
        await house.formation(canned(OK))
        wire = await house.connect()
        assert (await wire.ask(GET)).body == b"ok"
        await house.formation(canned(OK.replace(b"ok", b"v2")))
        assert (await wire.ask(GET)).body == b"v2"


async def test_dropped_target_has_its_idle_connections_closed() -> None:
    left = trio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(OK)
        assert await wire.gone()
        left.set()

    async with open_house() as house:
        target = await house.formation(script)
        assert (await (await house.connect()).ask(GET)).body == b"ok"
        house.listener._context.upstreams.drop(target)
        house.listener._context.upstreams.drop(Target("127.0.0.1", 1))
        with trio.fail_after(20):
            await left.wait()


@pytest.mark.parametrize("request_", [GET, RPC, PING], ids=["api", "rpc", "ping"])
async def test_close_is_obeyed_and_said(request_: bytes) -> None:
    async with open_house() as house:
        await house.formation(canned(OK))
        wire = await house.connect()
        reply = await wire.ask(
            request_.replace(b"Host: a", b"Host: a\r\nConnection: close").replace(
                b"Host: pub.example:7890", b"Host: a\r\nConnection: close"
            )
        )
        assert reply.status == 200
        assert (reply.header(b"connection") or b"").lower() == b"close"
        assert await wire.gone()


async def test_http10_keeps_alive_on_request_only() -> None:
    async with open_house() as house:
        await house.formation(canned(OK))
        wire = await house.connect()
        request = b"GET /api/bot HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        for _ in range(2):
            reply = await wire.ask(request)
            assert reply.header(b"connection") == b"keep-alive"
        assert (await wire.ask(b"GET /api/bot HTTP/1.0\r\n\r\n")).body == b"ok"
        assert await wire.gone()
        await until(lambda: house.listener.open_connections == 0)
