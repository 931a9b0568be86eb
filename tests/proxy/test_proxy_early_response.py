"""Answers that come before the request has been sent whole; interim answers; HEAD."""

from __future__ import annotations

import pytest
import trio

from tests.proxy.house import GET, OK, Wire, open_house

LARGE = 4 << 20
UPLOAD = b"POST /api/bot HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % LARGE
REFUSED = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"


@pytest.mark.parametrize("closes", [True, False])
async def test_client_can_read_an_early_answer_after_sending_everything(closes: bool) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(REFUSED)
        if not closes:
            await trio.sleep_forever()

    async with open_house() as house:
        target = await house.formation(script)
        wire = await house.connect()
        await wire.send(UPLOAD + b"x" * LARGE)
        reply = await wire.reply()
        assert (reply.status, reply.body) == (413, b"big")
        assert reply.header(b"connection") == b"close"
        assert await wire.gone()
        assert target.in_flight == 0


async def test_early_answer_arrives_while_the_client_waits() -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(REFUSED)
        await wire.rest()

    async with open_house() as house:
        await house.formation(script)
        wire = await house.connect()
        await wire.send(UPLOAD)
        assert (await wire.reply()).status == 413


async def test_own_refusal_of_an_upload_can_be_read() -> None:
    async with open_house() as house:
        wire = await house.connect()
        await wire.send(UPLOAD + b"x" * LARGE)
        assert (await wire.reply()).status == 404
        assert await wire.gone()


async def test_own_refusal_of_a_small_body_keeps_the_connection() -> None:
    async with open_house() as house:
        wire = await house.connect()
        for framing in (b"Content-Length: 2\r\n\r\nhi", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"):
            assert (await wire.ask(b"POST /api/bot HTTP/1.1\r\nHost: a\r\n" + framing)).status == 404
        assert (await wire.ask(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")).body == b"pong"


async def test_100_continue_is_relayed_both_ways() -> None:
    async def script(wire: Wire) -> None:
        assert b"expect: 100-continue" in (await wire.head()).lower()
        await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await wire.exactly(5)
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)

    async with open_house() as house:
        await house.formation(script)
        wire = await house.connect()
        await wire.send(
            b"POST /api/bot HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
        assert await wire.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await wire.send(b"hello")
        assert (await wire.reply()).body == b"hello"


async def test_interim_answers_go_to_those_who_know_them() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

    async def script(wire: Wire) -> None:
        while True:
            await wire.head()
            await wire.send(hints + hints + OK)

    async with open_house() as house:
        await house.formation(script)
        wire = await house.connect()
        await wire.send(GET)
        assert await wire.exactly(2 * len(hints)) == hints + hints
        assert await wire.theirs() + await wire.exactly(2) == OK
        old = await house.connect()
        await old.send(b"GET /api/bot HTTP/1.0\r\n\r\n")
        assert (await old.head()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "fields",
    [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""],
)
async def test_head_has_no_body_whatever_its_fields_say(fields: bytes) -> None:
    async def script(wire: Wire) -> None:
        while True:
            await wire.head()
            await wire.send(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")

    async with open_house() as house:
        await house.formation(script)
        wire = await house.connect()
        for _ in range(2):
            await wire.send(b"HEAD /api/bot HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await wire.head()
            assert (b"Content-Length: 5" in head) is (b"Length" in fields)
        assert house.listener.tally.upstream_failures == 0
