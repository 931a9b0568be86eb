"""Browsers may call a formation that says nothing about it; what it says itself stands."""

from __future__ import annotations

import pytest

from muxi.registry.routes import RoutePolicy
from tests.proxy.house import GET, OK, House, Reply, Wire, canned, open_house

PREFLIGHT = (
    b"OPTIONS /api/bot/x HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\n"
    b"Access-Control-Request-Method: PATCH\r\nAccess-Control-Request-Headers: x-muxi-client-key, x-a\r\n\r\n"
)
PLAIN_OPTIONS = b"OPTIONS /api/bot/x HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\n\r\n"
OWN = b"HTTP/1.1 200 OK\r\naccess-Control-allow-origin: https://a.example\r\nContent-Length: 2\r\n\r\nok"
ORIGIN = b"access-control-allow-origin"


def refusal(status: bytes) -> bytes:
    return b"HTTP/1.1 " + status + b"\r\nContent-Length: 4\r\n\r\nnope"


async def ask(house: House, request: bytes) -> Reply:
    return await (await house.connect()).ask(request)


async def test_a_response_without_a_word_may_be_read_by_any_site() -> None:
    async with open_house() as house:
        await house.formation(canned(OK))
        assert (await ask(house, GET)).header(ORIGIN) == b"*"


async def test_what_the_formation_says_stands_alone() -> None:
    async with open_house() as house:
        await house.formation(canned(OWN))
        reply = await ask(house, GET)
        assert [value for name, value in reply.headers if name == ORIGIN] == [b"https://a.example"]


async def test_it_can_be_switched_off() -> None:
    async with open_house() as house:
        await house.formation(canned(OK), policy=RoutePolicy(cors=False))
        assert (await ask(house, GET)).header(ORIGIN) is None
        assert (await ask(house, PREFLIGHT)).header(ORIGIN) is None


@pytest.mark.parametrize("status", [b"404 Not Found", b"405 Method Not Allowed", b"501 Not Implemented"])
async def test_a_preflight_that_the_formation_does_not_know_is_answered(status: bytes) -> None:
    async with open_house() as house:
        await house.formation(canned(refusal(status)))
        wire = await house.connect()
        for _ in range(2):
            reply = await wire.ask(PREFLIGHT)
            assert (reply.status, reply.body) == (204, b"")
            assert reply.header(ORIGIN) == b"*"
            assert reply.header(b"access-control-allow-methods") == b"PATCH"
            assert reply.header(b"access-control-allow-headers") == b"x-muxi-client-key, x-a"
            assert reply.header(b"x-request-id")


async def test_its_long_refusal_is_dropped_with_its_connection() -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 100000\r\n\r\nbeginning")
        assert await wire.gone()

    async with open_house() as house:
        await house.formation(script)
        wire = await house.connect()
        assert (await wire.ask(PREFLIGHT)).status == 204
        assert (await wire.ask(PREFLIGHT)).status == 204


async def test_a_preflight_that_is_answered_without_cors_is_completed() -> None:
    async with open_house() as house:
        await house.formation(canned(OK))
        reply = await ask(house, PREFLIGHT)
        assert (reply.status, reply.body) == (200, b"ok")
        assert reply.header(ORIGIN) == b"*"
        assert reply.header(b"access-control-allow-methods") == b"PATCH"


@pytest.mark.parametrize(
    ("request_", "response", "status"),
    [
        (
            PREFLIGHT,
            b"HTTP/1.1 404 Not Found\r\nAccess-Control-Allow-Origin: b\r\nContent-Length: 0\r\n\r\n",
            404,
        ),
        (PREFLIGHT, refusal(b"401 Unauthorized"), 401),
        (PREFLIGHT, refusal(b"500 Oops"), 500),
        (PLAIN_OPTIONS, refusal(b"404 Not Found"), 404),
        (PREFLIGHT.replace(b"Origin:", b"X-Origin:"), refusal(b"405 No"), 405),
        (PREFLIGHT.replace(b"OPTIONS", b"GET"), refusal(b"404 Not Found"), 404),
    ],
)
async def test_other_refusals_pass(request_: bytes, response: bytes, status: int) -> None:
    async with open_house() as house:
        await house.formation(canned(response))
        reply = await ask(house, request_)
        assert reply.status == status
        assert reply.header(b"access-control-allow-methods") is None


async def test_options_of_the_formations_own_cors_middleware_pass_as_they_are() -> None:
    answer = (
        b"HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: https://a.example\r\n"
        b"Access-Control-Allow-Methods: GET\r\n\r\n"
    )
    async with open_house() as house:
        await house.formation(canned(answer))
        reply = await ask(house, PREFLIGHT)
        assert reply.header(b"access-control-allow-methods") == b"GET"
        assert reply.header(ORIGIN) == b"https://a.example"
