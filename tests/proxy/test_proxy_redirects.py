"""References to the formation itself lead back through the proxy; all others stay as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.proxy.redirects import own_authorities, public_reference
from muxi.registry.routes import Target
from tests.proxy.house import House, Reply, Wire, canned, open_house

OWN = own_authorities(Target("127.0.0.1", 8001)) | {b"pub.example:7890"}
API, DRAFT, MCP = b"/api/bot/x?y", b"/draft/bot/x", b"/mcp/bot"


@pytest.mark.parametrize(
    ("reference", "public"),
    [
        # The formation's own addresses.
        (b"http://127.0.0.1:8001/v1/x", b"/api/bot/v1/x"),
        (b"https://127.0.0.1:8001/v1/x", b"/api/bot/v1/x"),
        (b"HTTP://LocalHost:8001/v1/x?a=/b#c", b"/api/bot/v1/x?a=/b#c"),
        (b"http://[::1]:8001/x", b"/api/bot/x"),
        (b"http://0.0.0.0:8001/x", b"/api/bot/x"),
        (b"//127.0.0.1:8001/x", b"/api/bot/x"),
        (b"http://127.0.0.1:8001", b"/api/bot/"),
        (b"http://127.0.0.1:8001?a", b"/api/bot/?a"),
        (b"http://127.0.0.1:8001//x", b"/api/bot//x"),
        # The address that the client used, as X-Forwarded-Host told the formation.
        (b"http://pub.example:7890/v1/x", b"/api/bot/v1/x"),
        (b"https://PUB.example:7890/v1/x", b"/api/bot/v1/x"),
        # Paths alone.
        (b"/v1/x", b"/api/bot/v1/x"),
        (b"/", b"/api/bot/"),
        (b"/api/users", b"/api/bot/api/users"),
        (b"/api/botanic", b"/api/bot/api/botanic"),
        (b"/caf\xc3\xa9 x", b"/api/bot/caf\xc3\xa9 x"),
        # Public already.
        (b"/api/bot", b"/api/bot"),
        (b"/api/bot/v1/x", b"/api/bot/v1/x"),
        (b"/api/bot?x", b"/api/bot?x"),
        (b"http://pub.example:7890/api/bot/v1", b"http://pub.example:7890/api/bot/v1"),
        # Elsewhere.
        (b"https://login.example/authorize?to=http://127.0.0.1:8001/", None),
        (b"http://127.0.0.1:8002/x", None),
        (b"http://127.0.0.1/x", None),
        (b"http://127.0.0.1:8001@evil.example/x", None),
        (b"http://evil.example:8001/x", None),
        (b"//evil.example/x", None),
        (b"///x", None),
        (b"http:///x", None),
        (b"ftp://127.0.0.1:8001/x", None),
        (b"mailto:a@b", None),
        # Relative to the request's path.
        (b"x/y", None),
        (b"../x", None),
        (b"?q", None),
        (b"#f", None),
        (b"", None),
    ],
)
def test_references_of_a_live_formation(reference: bytes, public: bytes | None) -> None:
    assert public_reference(reference, b"bot", API, OWN) == (reference if public is None else public)


@pytest.mark.parametrize(
    ("reference", "public"),
    [
        (b"http://127.0.0.1:8001/mcp/", b"/mcp/bot/"),
        (b"http://127.0.0.1:8001/mcp", b"/mcp/bot"),
        (b"/mcp?x", b"/mcp/bot?x"),
        (b"/mcp/tools", b"/mcp/bot/tools"),
        (b"/mcp/mcp/tools", b"/mcp/bot/mcp/mcp/tools"),
        (b"/mcp/bot/", b"/mcp/bot/"),
        (b"/login", b"/api/bot/login"),
        (b"/mcpx", b"/api/bot/mcpx"),
    ],
)
def test_references_of_an_mcp_place(reference: bytes, public: bytes) -> None:
    assert public_reference(reference, b"bot", MCP, OWN) == public


def test_a_draft_stays_a_draft() -> None:
    assert public_reference(b"/v1/x", b"bot", DRAFT, OWN) == b"/draft/bot/v1/x"
    assert public_reference(b"/api/bot/x", b"bot", DRAFT, OWN) == b"/draft/bot/api/bot/x"


@given(st.binary(max_size=30))
def test_rewriting_again_changes_nothing(reference: bytes) -> None:
    once = public_reference(reference, b"bot", API, OWN)
    assert public_reference(once, b"bot", API, OWN) == once


def redirect(location: bytes, status: bytes = b"307 Temporary Redirect", name: bytes = b"Location") -> bytes:
    return b"HTTP/1.1 " + status + b"\r\n" + name + b": " + location + b"\r\nContent-Length: 0\r\n\r\n"


async def ask(house: House, target: bytes, host: bytes = b"pub.example:7890") -> Reply:
    request = b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
    return await (await house.connect()).ask(request)


async def test_the_address_of_another_formation_stays() -> None:
    async with open_house() as house:
        other = await house.formation(canned(b""), "other")
        location = b"http://127.0.0.1:%d/mcp/" % other.port
        await house.formation(canned(redirect(location)))
        assert (await ask(house, b"/mcp/bot")).header(b"location") == location


async def test_own_addresses_are_those_of_the_target() -> None:
    responses: list[bytes] = []

    async def script(wire: Wire) -> None:
        while True:
            await wire.head()
            await wire.send(responses[-1])

    async with open_house() as house:
        target = await house.formation(script)
        responses.append(redirect(b"http://localhost:%d/mcp/?a" % target.port))
        assert (await ask(house, b"/mcp/bot?a")).header(b"location") == b"/mcp/bot/?a"
        responses.append(redirect(b"/v1/items/7", b"201 Created"))
        assert (await ask(house, b"/api/bot/v1/items")).header(b"location") == b"/api/bot/v1/items/7"
        responses.append(redirect(b"http://pub.example:7890/a", b"200 OK", b"content-location"))
        assert (await ask(house, b"/api/bot/b")).header(b"content-location") == b"/api/bot/a"
        responses.append(redirect(b"https://login.example/"))
        assert (await ask(house, b"/api/bot/b")).header(b"location") == b"https://login.example/"
