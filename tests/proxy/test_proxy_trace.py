"""Request ids and trace context: passed on, or begun; and told to the client."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from muxi.proxy.trace import is_valid, new_parent
from tests.proxy.house import GET, OK, Wire, canned, open_house

TRACE, PARENT = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
VALID = b"00-" + TRACE + b"-" + PARENT + b"-01"


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        (VALID, True),
        (VALID[:-2] + b"00", True),
        (VALID[:-2] + b"ff", True),
        (b"cc" + VALID[2:], True),
        (b"cc" + VALID[2:] + b"-what-the-future-brings", True),
        (VALID + b"-more", False),
        (VALID + b"-", False),
        (b"cc" + VALID[2:] + b".more", False),
        (b"ff" + VALID[2:], False),
        (VALID.upper(), False),
        (VALID[:-1], False),
        (VALID + b"0", False),
        (b"00-" + b"0" * 32 + VALID[35:], False),
        (VALID[:36] + b"0" * 16 + b"-01", False),
        (VALID.replace(b"-", b"_"), False),
        (b"", False),
        (b"00-1-2-01", False),
    ],
)
def test_which_traceparents_are_passed_on(value: bytes, valid: bool) -> None:
    assert is_valid(value) is valid


def test_a_new_one_is_valid() -> None:
    name, _, value = new_parent(b"0af7651916cd43dd8448eb211c80319c").partition(b": ")
    assert name == b"traceparent"
    assert is_valid(value)


class Seen:
    """A formation that keeps the heads it saw."""

    def __init__(self, response: bytes = OK) -> None:
        self.heads: list[bytes] = []
        self.response = response

    async def __call__(self, wire: Wire) -> None:
        while True:
            self.heads.append(await wire.head())
            await wire.send(self.response)

    def values(self, name: bytes) -> list[bytes]:
        return re.findall(rb"(?im)^%b: ?(.*)\r$" % re.escape(name), self.heads[-1])


def request(*lines: bytes) -> bytes:
    return b"\r\n".join((b"GET /api/bot/x HTTP/1.1", b"Host: a", *lines, b"", b""))


async def test_a_trace_is_passed_on_with_its_state() -> None:
    async with open_house() as house:
        seen = Seen()
        await house.formation(seen)
        await (await house.connect()).ask(
            request(b"TraceParent: " + VALID, b"tracestate: a=1", b"tracestate: b=2")
        )
        assert seen.values(b"traceparent") == [VALID]
        assert seen.values(b"tracestate") == [b"a=1", b"b=2"]


@pytest.mark.parametrize("given", [[], [b"traceparent: nonsense"], [b"traceparent: ff" + VALID[2:]]])
async def test_without_a_valid_one_a_trace_begins_and_its_state_is_dropped(given: list[bytes]) -> None:
    async with open_house() as house:
        seen = Seen()
        await house.formation(seen)
        await (await house.connect()).ask(request(*given, b"tracestate: a=1"))
        (value,) = seen.values(b"traceparent")
        assert is_valid(value)
        assert seen.values(b"tracestate") == []


async def test_new_traces_and_ids_are_all_different_and_go_together() -> None:
    async with open_house() as house:
        seen = Seen()
        await house.formation(seen)
        wire = await house.connect()
        traces = Counter[bytes]()
        for _ in range(50):
            reply = await wire.ask(GET)
            (value,) = seen.values(b"traceparent")
            (request_id,) = seen.values(b"x-request-id")
            assert is_valid(value)
            assert value.split(b"-")[1] == request_id == reply.header(b"x-request-id")
            traces[value.split(b"-")[2]] += 1
        assert set(traces.values()) == {1}
        # The last digits are what tracers sample by: they must not stay the same, nor just count.
        assert len({parent[:4] for parent in traces}) > 25


async def test_the_clients_own_id_is_told_to_both() -> None:
    async with open_house() as house:
        seen = Seen()
        await house.formation(seen)
        reply = await (await house.connect()).ask(request(b"X-Request-ID: mine-1"))
        assert seen.values(b"x-request-id") == [b"mine-1"]
        assert reply.header(b"x-request-id") == b"mine-1"


async def test_an_id_that_the_formation_gives_stays() -> None:
    async with open_house() as house:
        await house.formation(canned(OK.replace(b"\r\n\r\n", b"\r\nx-request-id: theirs\r\n\r\n")))
        assert (await (await house.connect()).ask(GET)).header(b"x-request-id") == b"theirs"


async def test_answers_of_our_own_have_the_id_as_well() -> None:
    async with open_house() as house:
        wire = await house.connect()
        assert (await wire.ask(request(b"X-Request-ID: r2"))).header(b"x-request-id") == b"r2"
        house.routes.publish("bot", "stopped", None)
        reply = await wire.ask(request(b"X-Request-ID: not ok"))
        assert reply.status == 503
        assert re.fullmatch(rb"[0-9a-f]{32}", reply.header(b"x-request-id") or b"")


@pytest.mark.parametrize(
    ("sdk", "path", "told"),
    [
        (b"python/1.0", b"/api/bot/x", b"python>1.0"),
        (b"go/0.20260212.0", b"/api/bot", b"go>0.20260212.0"),
        (b"python", b"/api/bot", None),
        (b"python/", b"/api/bot", None),
        (b"unknown/1", b"/api/bot", None),
        (b"python/1.0", b"/mcp/bot", None),
        (None, b"/api/bot", None),
    ],
)
async def test_an_sdk_is_told_of_its_newest_release(
    sdk: bytes | None, path: bytes, told: bytes | None
) -> None:
    def latest(name: bytes, version: bytes) -> bytes | None:
        return None if name == b"unknown" else name + b">" + version

    async with open_house(latest=latest) as house:
        seen = Seen()
        await house.formation(seen)
        line = b"" if sdk is None else b"X-Muxi-SDK: " + sdk + b"\r\n"
        reply = await (await house.connect()).ask(
            b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n"
        )
        assert reply.header(b"x-muxi-sdk-latest") == told
        assert seen.values(b"x-muxi-sdk") == ([] if sdk is None else [sdk])


async def test_without_a_source_nothing_is_told() -> None:
    async with open_house() as house:
        await house.formation(canned(OK))
        reply = await (await house.connect()).ask(request(b"X-Muxi-SDK: python/1.0"))
        assert reply.header(b"x-muxi-sdk-latest") is None
