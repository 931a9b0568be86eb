"""A client that closes its sending side only: gone by default, answered where requests go on."""

from __future__ import annotations

import pytest
import trio

from muxi.registry.routes import RoutePolicy
from tests.proxy.house import GET, OK, Wire, canned, open_house
from tests.waiting import until

POST = b"POST /api/bot HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"


@pytest.mark.parametrize("on_disconnect", ["cancel", "continue"])
@pytest.mark.parametrize("request_", [GET, POST], ids=["get", "post"])
async def test_half_closed(on_disconnect: str, request_: bytes) -> None:
    asked, closed = trio.Event(), trio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        asked.set()
        await closed.wait()
        await wire.send(OK)
        await wire.rest()

    async with open_house() as house:
        target = await house.formation(script)
        policy = RoutePolicy(on_disconnect="continue" if on_disconnect == "continue" else "cancel")
        house.routes.live[b"bot"].policy = policy
        wire = await house.connect()
        await wire.send(request_)
        with trio.fail_after(20):
            await asked.wait()
        await wire.stream.send_eof()
        if on_disconnect == "cancel":
            assert await wire.rest() == b""
            await until(lambda: target.in_flight == 0)
        closed.set()
        if on_disconnect == "continue":
            assert (await wire.reply()).body == b"ok"
            assert await wire.rest() == b""


async def test_requests_sent_before_are_answered_all() -> None:
    async with open_house() as house:
        await house.formation(canned(OK))
        house.routes.live[b"bot"].policy = RoutePolicy(on_disconnect="continue")
        wire = await house.connect()
        await wire.send(GET * 3)
        await wire.stream.send_eof()
        assert (await wire.rest()).count(b"ok") == 3


async def test_an_answer_of_ours_reaches_a_half_closed_client() -> None:
    async with open_house() as house:
        wire = await house.connect()
        await wire.send(b"GET /api/nobody HTTP/1.1\r\nHost: a\r\n\r\n")
        await wire.stream.send_eof()
        assert (await wire.reply()).status == 404
