"""Bodies both ways, with every framing, to clients of both versions."""

from __future__ import annotations

import h11
import pytest

from tests.proxy.house import GET, OK, Wire, canned, open_house

CHUNKED = b"5;x=1\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n"


async def echo(wire: Wire) -> None:
    """Send back the raw bytes of each request's head and body."""
    while True:
        head = await wire.head()
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            body = await wire.until(b"0\r\nX-Sum: 1\r\n\r\n")
        else:
            length = lower.partition(b"content-length: ")[2].partition(b"\r\n")[0]
            body = await wire.exactly(int(length or b"0"))
        content = head + body
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 11", b"hello world"),
        (b"Content-Length: 0", b""),
        (b"Transfer-Encoding: chunked", CHUNKED),
    ],
)
async def test_request_bodies_keep_their_framing(framing: bytes, body: bytes, together: bool) -> None:
    async with open_house() as house:
        await house.formation(echo)
        wire = await house.connect()
        head = b"POST /api/bot/e HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n"
        for _ in range(2):
            if together:
                await wire.send(head + body)
            else:
                await wire.send(head)
                await wire.send(body)
            seen, _, content = (await wire.reply()).body.partition(b"\r\n\r\n")
            assert framing in seen.split(b"\r\n")
            assert content == body


async def test_request_without_a_body_gets_no_framing() -> None:
    async with open_house() as house:
        await house.formation(echo)
        seen = (await (await house.connect()).ask(GET)).body.lower()
        assert b"content-length" not in seen
        assert b"transfer-encoding" not in seen


@pytest.mark.parametrize(
    ("response", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED, b"hello!"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", b"hello"),
        (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
    ],
)
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_responses_of_every_framing(response: bytes, body: bytes, version: bytes) -> None:
    async def once(wire: Wire) -> None:
        await wire.head()
        await wire.send(response)

    async with open_house() as house:
        await house.formation(once)
        wire = await house.connect()
        await wire.send(b"GET /api/bot HTTP/" + version + b"\r\nHost: a\r\n\r\n")
        reply = await wire.reply()
        assert reply.status == int(response[9:12])
        assert reply.body == body
        if version == b"1.0":
            assert reply.header(b"transfer-encoding") is None
            assert await wire.gone()
        else:
            assert (await wire.ask(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")).body == b"pong"


async def test_chunks_and_trailers_pass_as_they_are() -> None:
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED
    async with open_house() as house:
        await house.formation(canned(response))
        wire = await house.connect()
        await wire.send(GET)
        assert await wire.theirs() + await wire.exactly(len(CHUNKED)) == response


async def test_a_response_in_single_bytes_is_the_same() -> None:
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED

    async def dribble(wire: Wire) -> None:
        await wire.head()
        for i in range(len(response)):
            await wire.send(response[i : i + 1])

    async with open_house() as house:
        await house.formation(dribble)
        wire = await house.connect()
        await wire.send(GET)
        assert await wire.theirs() + await wire.exactly(len(CHUNKED)) == response


async def test_a_request_in_single_bytes_is_the_same() -> None:
    request = b"POST /api/bot/e HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED
    async with open_house() as house:
        await house.formation(echo)
        wire = await house.connect()
        for i in range(len(request)):
            await wire.send(request[i : i + 1])
        assert (await wire.reply()).body.endswith(b"\r\n\r\n" + CHUNKED)


async def test_body_cut_by_the_formation_is_never_ended_well() -> None:
    cut = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ]

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(cut[0])

    async with open_house() as house:
        target = await house.formation(script)
        while cut:
            wire = await house.connect()
            await wire.send(GET)
            with pytest.raises(h11.RemoteProtocolError):
                await wire.reply()
            cut.pop(0)
        assert target.in_flight == 0


async def test_malformed_chunk_in_an_upload_is_refused() -> None:
    async def never(wire: Wire) -> None:
        await wire.head()
        await wire.rest()

    async with open_house() as house:
        target = await house.formation(never)
        wire = await house.connect()
        await wire.send(
            b"POST /api/bot HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        )
        await wire.send(b"zz\r\n")
        assert (await wire.reply()).status == 400
        assert await wire.gone()
        assert target.in_flight == 0


async def test_surplus_of_a_response_reaches_nobody() -> None:
    async with open_house() as house:
        await house.formation(canned(OK + OK))
        wire = await house.connect()
        for _ in range(2):
            await wire.send(GET)
            assert await wire.theirs() + await wire.exactly(2) == OK
