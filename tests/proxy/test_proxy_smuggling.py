"""Ambiguous requests with another one hidden inside: neither the strict nor the careless see two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from muxi.proxy.bodies import BodyError, request_body
from muxi.proxy.heads import HeadError
from muxi.proxy.http1 import parse_request_head
from muxi.proxy.limits import Limits
from tests.proxy.corpus.ambiguous import CARRIED, CHUNKED, GET, HIDDEN, LAST, POST, REFUSED
from tests.proxy.house import open_house
from tests.proxy.naive import Prefers, read_carelessly
from tests.proxy.recording import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.proxy.house import House

LIMITS = Limits(head_timeout=10, idle_timeout=1, body_idle_timeout=1, sweep_interval=0.05)


def whole(data: bytes) -> list[bytes]:
    return [data]


def single_bytes(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def head_and_body(data: bytes) -> list[bytes]:
    end = data.find(b"\r\n\r\n") + 4
    return [data[:end], data[end:]]


CUTS = pytest.mark.parametrize("cut", [whole, head_and_body, single_bytes])


def read_strictly(data: bytes) -> list[tuple[bytes, bytes]]:
    """Targets and bodies, framing and all, as our parser sees them. Raises HeadError, BodyError."""
    requests = []
    while data:
        head = parse_request_head(data)
        assert head is not None, "the end is missing"
        body = request_body(head.length)
        content = body.take(data[head.size :])
        assert body.done, "the end is missing"
        requests.append((head.target, content))
        data = body.surplus
    return requests


@pytest.mark.parametrize("name", REFUSED)
def test_the_parser_refuses(name: str) -> None:
    with pytest.raises((HeadError, BodyError)):
        read_strictly(REFUSED[name])


@pytest.mark.parametrize("name", CARRIED)
def test_the_parser_sees_one_request(name: str) -> None:
    ((target, body),) = read_strictly(CARRIED[name])
    assert target == b"/api/bot"
    assert HIDDEN in body


async def send_all(table: dict[str, bytes], cut: Callable[[bytes], list[bytes]]) -> dict[str, Seen]:
    """Send each to a house's formations of its own, at the same time."""
    seen: dict[str, Seen] = {}

    async def one(house: House, index: int, name: str) -> None:
        bot, secret = b"b%02x" % index, b"s%05x" % index  # As long as the names they stand for.
        here = seen[name] = Seen()
        await house.formation(here.bot, bot.decode())
        await house.formation(here.secret, secret.decode())
        wire = await house.connect()
        data = table[name].replace(b"/api/bot", b"/api/" + bot).replace(b"/api/secret", b"/api/" + secret)
        try:
            for piece in cut(data):
                await wire.send(piece)
            here.answers = await wire.rest()
        except trio.BrokenResourceError:
            pass  # Refused while we were still sending.

    async with open_house(limits=LIMITS) as house:
        async with trio.open_nursery() as nursery:
            for index, name in enumerate(table):
                nursery.start_soon(one, house, index, name)
        assert house.listener.tally.contained == 0
    return seen


class Seen:
    """What two formations saw, and what the client was told."""

    def __init__(self) -> None:
        self.bot = Recorder()
        self.secret = Recorder()
        self.answers = b""

    def careless(self, prefers: Prefers) -> list[bytes]:
        """What a careless server in the place of the formation would have seen."""
        return [line for raw in self.bot.raw for line in read_carelessly(bytes(raw), prefers)]


@CUTS
async def test_what_is_ambiguous_reaches_nobody(cut: Callable[[bytes], list[bytes]]) -> None:
    for name, here in (await send_all(REFUSED, cut)).items():
        assert not here.secret.raw, name
        assert not here.bot.requests, name
        for prefers in Prefers:
            assert here.careless(prefers) == [], f"{name}: {prefers}"
        assert b"HTTP/1.1 200" not in here.answers, name
        if cut is whole:
            assert not here.bot.raw, name
            assert here.answers[:10] in {b"HTTP/1.1 4", b"HTTP/1.1 5"}, name


@CUTS
async def test_what_a_body_carries_stays_a_body(cut: Callable[[bytes], list[bytes]]) -> None:
    for name, here in (await send_all(CARRIED, cut)).items():
        assert not here.secret.raw, name
        assert len(here.bot.requests) == 1, name
        assert len(here.bot.requests[0].body) == len(HIDDEN), name
        for prefers in Prefers:
            assert len(here.careless(prefers)) == 1, f"{name}: {prefers}"
        assert here.answers.count(b"HTTP/1.1 200") == 1, name


@CUTS
async def test_what_follows_in_good_order_is_a_request(cut: Callable[[bytes], list[bytes]]) -> None:
    """The judges of the tests above are not blind."""
    table = {"get": GET + b"\r\n" + HIDDEN, "chunked": CHUNKED + LAST + HIDDEN}
    for here in (await send_all(table, cut)).values():
        assert len(here.bot.requests) == len(here.secret.requests) == 1


def test_careless_readers_are_careless() -> None:
    cl_te = (
        POST + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % (len(HIDDEN) + 5) + LAST + HIDDEN
    )
    assert len(read_carelessly(cl_te, Prefers.CODING)) == 2
    assert len(read_carelessly(cl_te, Prefers.LAST)) == 1
    two = POST + b"Content-Length: 0\r\ncontent-length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN
    assert len(read_carelessly(two, Prefers.FIRST)) == 2
    assert len(read_carelessly(two, Prefers.LAST)) == 1
