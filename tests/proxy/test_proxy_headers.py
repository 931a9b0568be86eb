"""What a formation is told of a request, and what a client of a response."""

from __future__ import annotations

import pytest

from muxi.proxy.headers import with_reason
from tests.proxy.house import GET, OK, House, Reply, Wire, canned, open_house

OPTIONS_REPLY = b"HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: https://a.example\r\n\r\n"


class Recorder:
    """A formation that keeps the heads it saw."""

    def __init__(self, response: bytes = OK) -> None:
        self.response = response
        self.heads: list[bytes] = []

    async def __call__(self, wire: Wire) -> None:
        while True:
            self.heads.append(await wire.head())
            await wire.send(self.response)

    def lines(self) -> list[bytes]:
        return self.heads[-1].removesuffix(b"\r\n\r\n").split(b"\r\n")

    def field(self, name: bytes) -> list[bytes]:
        pairs = (line.partition(b": ") for line in self.lines()[1:])
        return [value for key, _, value in pairs if key.lower() == name]


ALLOW_ANY = (b"access-control-allow-origin", b"*")


def without_ours(reply: Reply) -> list[tuple[bytes, bytes]]:
    """The fields of a response without the request's id, which is another one each time."""
    assert reply.header(b"x-request-id")
    return [pair for pair in reply.headers if pair[0] != b"x-request-id"]


async def ask(house: House, request: bytes) -> Reply:
    return await (await house.connect()).ask(request)


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        (b"/api/bot", b"/"),
        (b"/api/bot?", b"/?"),
        (b"/api/bot?a=1", b"/?a=1"),
        (b"/api/bot/", b"/"),
        (b"/api/bot//x", b"//x"),
        (b"/api/bot/../x/./y", b"/../x/./y"),
        (b"/api/bot/a%2Fb%00%zz?x=%2f?y#z", b"/a%2Fb%00%zz?x=%2f?y#z"),
        (b'/api/bot/|"<>{}^`\\', b'/|"<>{}^`\\'),
        (b"/api/bot?/x", b"/?/x"),
        (b"http://other/api/bot/x", b"/x"),
        (b"/mcp/bot", b"/mcp"),
        (b"/mcp/bot?a=1", b"/mcp?a=1"),
        (b"/mcp/bot/", b"/mcp/"),
        (b"/mcp/bot/tools/list?x", b"/mcp/tools/list?x"),
        (b"/mcp/bot/mcp", b"/mcp"),
        (b"/mcp/bot/mcp/", b"/mcp/"),
        (b"/mcp/bot/mcp/tools", b"/mcp/tools"),
        (b"/mcp/bot/mcpx", b"/mcp/mcpx"),
    ],
)
async def test_target_reaches_the_formation_byte_for_byte(asked: bytes, seen: bytes) -> None:
    async with open_house() as house:
        recorder = Recorder()
        await house.formation(recorder)
        await ask(house, b"GET " + asked + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert recorder.lines()[0] == b"GET " + seen + b" HTTP/1.1"


async def test_forwarding_fields_of_an_unknown_peer_are_replaced() -> None:
    async with open_house() as house:
        recorder = Recorder()
        target = await house.formation(recorder)
        forged = b"X-Forwarded-For: 6.6.6.6\r\nx-real-ip: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n"
        forged += b"X-Forwarded-Host: evil\r\nX-Muxi-Server: evil\r\nForwarded: for=6.6.6.6\r\n"
        await ask(house, b"GET /api/bot HTTP/1.1\r\nHost: pub:7890\r\n" + forged + b"\r\n")
        assert recorder.field(b"x-forwarded-for") == [b"127.0.0.1"]
        assert recorder.field(b"x-real-ip") == [b"127.0.0.1"]
        assert recorder.field(b"x-forwarded-proto") == [b"http"]
        assert recorder.field(b"x-forwarded-host") == [b"pub:7890"]
        assert recorder.field(b"x-muxi-server") == [b"9.9.9"]
        assert recorder.field(b"host") == [b"127.0.0.1:%d" % target.port]
        assert recorder.field(b"forwarded") == []


async def test_forwarding_fields_of_a_trusted_peer_are_extended() -> None:
    async with open_house(trusts=lambda peer: peer == "127.0.0.1") as house:
        recorder = Recorder()
        await house.formation(recorder)
        told = (
            b"X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nX-Forwarded-For: 3.3.3.3\r\nX-Forwarded-Proto: https\r\n"
        )
        await ask(house, b"GET /api/bot HTTP/1.1\r\nHost: a\r\n" + told + b"\r\n")
        assert recorder.field(b"x-forwarded-for") == [b"1.1.1.1, 2.2.2.2, 3.3.3.3, 127.0.0.1"]
        assert recorder.field(b"x-real-ip") == [b"3.3.3.3"]
        assert recorder.field(b"x-forwarded-proto") == [b"https"]


async def test_other_fields_pass_untouched() -> None:
    async with open_house() as house:
        recorder = Recorder()
        await house.formation(recorder)
        fields = [
            b"X-Muxi-Client-Key: k",
            b"aUtHoRiZaTiOn: Bearer x",
            b"X-Odd:\xe4  y",
        ]
        await ask(house, b"\r\n".join((b"GET /api/bot HTTP/1.1", b"Host: a", *fields, b"", b"")))
        assert [line for line in recorder.lines()[4:-4] if not line.startswith(b"traceparent:")] == fields


async def test_request_id_is_passed_on_or_made() -> None:
    async with open_house() as house:
        recorder = Recorder()
        await house.formation(recorder)
        seen = []
        for given in (b"X-Request-ID: abc-1\r\n", b"", b"", b"X-Request-ID: a b\r\n"):
            await ask(house, b"GET /api/bot HTTP/1.1\r\nHost: a\r\n" + given + b"\r\n")
            seen += recorder.field(b"x-request-id")
        assert seen[0] == b"abc-1"
        assert len(set(seen)) == 4
        assert b"a b" not in seen


async def test_options_reaches_the_formation_and_its_cors_answer_is_its_own() -> None:
    async with open_house() as house:
        recorder = Recorder(OPTIONS_REPLY)
        await house.formation(recorder)
        reply = await ask(house, b"OPTIONS /api/bot/x HTTP/1.1\r\nHost: a\r\nOrigin: b\r\n\r\n")
        assert reply.status == 204
        assert without_ours(reply) == [(b"access-control-allow-origin", b"https://a.example")]


async def test_hop_by_hop_fields_stop_here_both_ways() -> None:
    async with open_house() as house:
        recorder = Recorder(
            b"HTTP/1.1 200 OK\r\nConnection: x-secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=9\r\n"
            b"Upgrade: h2c\r\nServer: theirs\r\nContent-Length: 0\r\n\r\n"
        )
        await house.formation(recorder)
        hop = b"Connection: x-mine, keep-alive\r\nX-Mine: 1\r\nTE: trailers\r\nKeep-Alive: 1\r\n"
        hop += b"Upgrade: h2c\r\n"
        reply = await ask(house, b"GET /api/bot HTTP/1.1\r\nHost: a\r\n" + hop + b"\r\n")
        assert without_ours(reply) == [(b"server", b"theirs"), (b"content-length", b"0"), ALLOW_ANY]
        for name in (b"connection", b"x-mine", b"te", b"keep-alive", b"upgrade"):
            assert recorder.field(name) == []


async def test_repeated_response_fields_stay_apart() -> None:
    async with open_house() as house:
        response = b"HTTP/1.1 200 Fine\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
        await house.formation(canned(response))
        wire = await house.connect()
        await wire.send(GET)
        assert await wire.theirs() == response


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (
            b"HTTP/1.1 404 \r\na: b\r\n\r\nHTTP/1.1 200 \r\n",
            b"HTTP/1.1 404 Not Found\r\na: b\r\n\r\nHTTP/1.1 200 \r\n",
        ),
        (b"HTTP/1.1 200 Fine\r\n\r\n", b"HTTP/1.1 200 Fine\r\n\r\n"),
        (b"HTTP/1.1 599 \r\n\r\n", b"HTTP/1.1 599 \r\n\r\n"),
        (b"x", b"x"),
    ],
)
def test_a_bare_status_line_of_the_management_app_gets_its_reason(head: bytes, expected: bytes) -> None:
    assert with_reason(head) == expected
