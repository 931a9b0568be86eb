"""The end of a connection that we close: the answer arrives, and nothing waits for ever."""

from __future__ import annotations

from typing import Any

import h11
import pytest
import trio

from tests.proxy.house import GET, OK, Wire, answer_ok, canned, open_house
from tests.waiting import until

CLOSE = b"GET /api/bot HTTP/1.0\r\n\r\n"
CLOSE_APP = b"GET /other HTTP/1.0\r\n\r\n"


@pytest.mark.parametrize("request_", [CLOSE, CLOSE_APP, b"GET /ping HTTP/1.0\r\n\r\n"])
async def test_bytes_after_the_last_request_do_not_destroy_its_answer(request_: bytes) -> None:
    asked, sent = trio.Event(), trio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        asked.set()
        await sent.wait()
        await wire.send(OK)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        await sent.wait()
        await answer_ok(scope, receive, send)

    async with open_house(app) as house:
        await house.formation(script)
        wire = await house.connect()
        if b"ping" in request_:
            await wire.send(request_ + b"GET /too-late HTTP/1.1\r\n")
        else:
            await wire.send(request_)
            await asked.wait()
            await wire.send(b"GET /too-late HTTP/1.1\r\n")
            sent.set()
        assert (await wire.rest()).startswith(b"HTTP/1.1 200 ")
        wire.leave()
        await until(lambda: house.listener.open_connections == 0)


async def test_a_cut_response_stays_cut_though_more_has_come() -> None:
    sent = trio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf")
        await sent.wait()

    async with open_house() as house:
        await house.formation(script)
        wire = await house.connect()
        await wire.send(GET)
        wire.pending = await wire.until(b"half")
        await wire.send(GET)
        sent.set()
        with pytest.raises(h11.RemoteProtocolError):
            await wire.reply()


@pytest.mark.parametrize("target", [b"/\xc3\xa4", b"/rpc/\xff"])
async def test_a_head_with_a_target_beyond_ascii_ends_the_connection(target: bytes) -> None:
    async with open_house() as house:
        await house.formation(canned(OK))
        wire = await house.connect()
        await wire.send(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await wire.rest()).startswith(b"HTTP/1.1 400 ")
        wire.leave()
        await until(lambda: house.listener.open_connections == 0)
