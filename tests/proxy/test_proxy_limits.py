"""Limits on connections, requests, heads and bodies: refused early, in good form, and counted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.proxy.limits import Limits
from muxi.proxy.sockets import descriptor_ceiling
from muxi.proxy.trust import Trust
from muxi.registry.routes import RoutePolicy
from tests.proxy.house import GET, OK, Wire, canned, open_house
from tests.waiting import until

if TYPE_CHECKING:
    from tests.proxy.house import House, Reply

PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
TRUST = Trust(["127.0.0.0/8"])


def assert_error(reply: Reply, status: int, code: str, *, again: bool = True) -> None:
    """An answer in the shape of the proxy's errors."""
    assert reply.status == status
    content = json.loads(reply.body)
    assert content["success"] is False
    assert content["error"]["code"] == code
    assert content["error"]["message"] == content["message"]
    after = reply.header(b"retry-after")
    assert (after is not None and after.isdigit() and int(after) >= 1) is again


async def entered(house: House, number: int) -> None:
    await until(lambda: house.listener.open_connections == number)


async def turned_away(house: House) -> Reply:
    """A new client gets a refusal without asking for anything, and the end."""
    wire = await house.connect()
    reply = await wire.reply()
    assert await wire.gone()
    return reply


async def test_connections_at_once() -> None:
    async with open_house(limits=Limits(max_connections=2)) as house:
        first, second = await house.connect(), await house.connect()
        await first.ask(PING)
        await second.ask(PING)
        assert_error(await turned_away(house), 503, "TOO_MANY_CONNECTIONS")
        assert (await first.ask(PING)).status == 200
        second.leave()
        await entered(house, 1)
        assert (await (await house.connect()).ask(PING)).status == 200
        assert house.listener.tally.refused_connections == 1


async def test_connections_of_one_address() -> None:
    async with open_house(limits=Limits(max_connections_per_address=2)) as house:
        wires = [await house.connect(), await house.connect()]
        for wire in wires:
            await wire.ask(PING)
        assert_error(await turned_away(house), 503, "TOO_MANY_CONNECTIONS")
        wires[0].leave()
        await entered(house, 1)
        assert (await (await house.connect()).ask(PING)).status == 200


async def test_a_refused_client_that_has_asked_already_can_read_its_answer() -> None:
    async with open_house(limits=Limits(max_connections=1)) as house:
        await (await house.connect()).ask(PING)
        wire = await house.connect()
        await wire.send(GET * 50)
        assert_error(await wire.reply(), 503, "TOO_MANY_CONNECTIONS")
        assert await wire.gone()


async def test_a_trusted_proxy_stands_for_many() -> None:
    async with open_house(limits=Limits(max_connections_per_address=1), trusts=TRUST) as house:
        for _ in range(3):
            assert (await (await house.connect()).ask(PING)).status == 200


async def test_behind_a_balancer_each_client_has_its_own_limit() -> None:
    async def client(address: bytes) -> Wire:
        wire = await house.connect()
        await wire.send(b"PROXY TCP4 " + address + b" 192.0.2.1 1 2\r\n" + PING)
        return wire

    limits = Limits(max_connections_per_address=1)
    async with open_house(limits=limits, trusts=TRUST, proxy_protocol=True) as house:
        first, other = await client(b"203.0.113.1"), await client(b"203.0.113.2")
        assert (await first.reply()).status == (await other.reply()).status == 200
        again = await client(b"203.0.113.1")
        assert_error(await again.reply(), 503, "TOO_MANY_CONNECTIONS")
        assert await again.gone()
        first.leave()
        await entered(house, 1)
        assert (await (await client(b"203.0.113.1")).reply()).status == 200


async def test_descriptors_are_not_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with trio.socket.socket() as probe:
        lowest = probe.fileno()
    # The listener's own are above it, and so are both ends of each connection.
    monkeypatch.setattr("muxi.proxy.listener.descriptor_ceiling", lambda: lowest + 40)
    async with open_house() as house:
        statuses = []
        for _ in range(40):
            wire = await house.connect()
            with trio.move_on_after(10):
                await wire.send(PING)
                statuses.append((await wire.reply()).status)
        assert set(statuses) == {200, 503}
        assert statuses == sorted(statuses)


def test_some_descriptors_are_kept_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, ceiling in ((256, 224), (1024, 960), (65536, 64512), (1 << 20, (1 << 20) - 1024)):
        monkeypatch.setattr("resource.getrlimit", lambda _, soft=soft: (soft, soft))
        assert descriptor_ceiling() == ceiling


class Gate:
    """A formation whose answers wait until the test lets them go."""

    def __init__(self) -> None:
        self.open = trio.Event()
        self.asked = 0

    async def __call__(self, wire: Wire) -> None:
        while True:
            await wire.head()
            self.asked += 1
            await self.open.wait()
            await wire.send(OK)


@pytest.mark.parametrize(
    ("limits", "policy", "elsewhere"),
    [(Limits(max_concurrent=2), RoutePolicy(), 503), (Limits(), RoutePolicy(max_concurrent=2), 200)],
)
async def test_requests_at_once(limits: Limits, policy: RoutePolicy, elsewhere: int) -> None:
    async with open_house(limits=limits) as house:
        gate = Gate()
        await house.formation(gate, policy=policy)
        await house.formation(canned(OK), "other")
        wires = [await house.connect(), await house.connect()]
        for wire in wires:
            await wire.send(GET)
        await until(lambda: gate.asked == 2)
        third = await house.connect()
        assert_error(await third.ask(GET), 503, "TOO_MANY_REQUESTS")
        assert (await third.ask(GET.replace(b"bot", b"other"))).status == elsewhere
        gate.open.set()
        for wire in wires:
            assert (await wire.reply()).status == 200
        assert (await third.ask(GET)).status == 200
        assert house.listener.tally.in_flight == 0
        view = house.routes.live[b"bot"].traffic.snapshot()
        assert view.by_status["5xx"] == 1
        assert view.by_status["2xx"] == 3
        assert (view.refused, house.listener.tally.refused_requests) == (
            (1, 0) if policy.max_concurrent else (0, 2)
        )


async def test_a_cancelled_request_is_no_longer_under_way() -> None:
    async with open_house() as house:
        gate = Gate()
        await house.formation(gate, policy=RoutePolicy(max_concurrent=1))
        first = await house.connect()
        await first.send(GET)
        await until(lambda: gate.asked == 1)
        first.leave()
        traffic = house.routes.live[b"bot"].traffic
        await until(lambda: traffic.in_flight == 0)
        gate.open.set()
        assert (await (await house.connect()).ask(GET)).status == 200
        assert traffic.cancelled == 1


class Bodies:
    """A formation that counts what it gets."""

    def __init__(self) -> None:
        self.got = 0
        self.connections = 0

    async def __call__(self, wire: Wire) -> None:
        self.connections += 1
        while True:
            head = await wire.head()
            size = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
            if size:
                self.got += len(await wire.exactly(int(size)))
            else:
                self.got += len(await wire.until(b"0\r\n\r\n"))
            await wire.send(OK)


def post(size: int, body: bytes = b"") -> bytes:
    return b"POST /api/bot HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + body


CHUNKED = b"POST /api/bot HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_body_that_says_it_is_too_large_is_not_even_read() -> None:
    async with open_house() as house:
        bodies = Bodies()
        await house.formation(bodies, policy=RoutePolicy(max_body=100))
        wire = await house.connect()
        assert_error(await wire.ask(post(101)), 413, "CONTENT_TOO_LARGE", again=False)
        assert bodies.connections == 0
        wire = await house.connect()
        assert (await wire.ask(post(100, b"x" * 100))).status == 200
        assert (await wire.ask(post(101, b"x" * 101))).status == 413
        assert (await wire.ask(post(1, b"x"))).status == 200
        assert house.routes.live[b"bot"].traffic.refused == 2


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_chunked_body_is_cut_where_it_becomes_too_large(at_once: bool) -> None:
    async with open_house() as house:
        bodies = Bodies()
        await house.formation(bodies, policy=RoutePolicy(max_body=100))
        wire = await house.connect()
        pieces = [CHUNKED, b"40\r\n" + b"x" * 64 + b"\r\n", b"25\r\n" + b"y" * 37 + b"\r\n", b"0\r\n\r\n"]
        if at_once:
            await wire.send(b"".join(pieces))
        else:
            await wire.send(pieces[0] + pieces[1])
            await until(lambda: bodies.connections == 1)
            await wire.send(pieces[2])
        assert_error(await wire.reply(), 413, "CONTENT_TOO_LARGE", again=False)
        assert bodies.got == 0


async def test_a_chunked_body_of_just_that_size_passes() -> None:
    async with open_house() as house:
        bodies = Bodies()
        await house.formation(bodies, policy=RoutePolicy(max_body=100))
        chunk = b"32\r\n" + b"x" * 50 + b"\r\n"
        assert (await (await house.connect()).ask(CHUNKED + chunk + chunk + b"0\r\n\r\n")).status == 200


@pytest.mark.parametrize(
    ("start", "status", "code"),
    [
        (b"GET /" + b"x" * 2048, 414, "URI_TOO_LONG"),
        (b"GET /" + b"x" * 2048 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "URI_TOO_LONG"),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 4096, 431, "HEADERS_TOO_LARGE"),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 4096 + b"\r\n\r\n", 431, "HEADERS_TOO_LARGE"),
    ],
)
async def test_heads(start: bytes, status: int, code: str) -> None:
    async with open_house(limits=Limits(max_head=4096)) as house:
        wire = await house.connect()
        await wire.send(start)
        assert_error(await wire.reply(), status, code, again=False)
        assert await wire.gone()


async def test_a_larger_head_where_it_is_allowed() -> None:
    async with open_house(limits=Limits(max_head=256 << 10)) as house:
        await house.formation(canned(OK))
        large = b"\r\nA: " + b"x" * (200 << 10) + b"\r\n\r\n"
        wire = await house.connect()
        assert (await wire.ask(GET.replace(b"\r\n\r\n", large))).status == 200
        assert (await wire.ask(b"GET /rpc HTTP/1.1\r\nHost: a" + large)).status == 200


async def test_the_status_page_shows_limits_and_use() -> None:
    limits = Limits(max_connections=5, max_concurrent=7, idle_timeout=0)
    async with open_house(limits=limits) as house:
        await (await house.connect()).ask(PING)
        status = json.loads(json.dumps(house.listener.status()))
        assert (status["connections"], status["requests"]) == (1, 0)
        assert status["limits"]["max_connections"] == 5
        assert status["limits"]["max_connections_per_address"] is None
        assert status["limits"]["max_concurrent"] == 7
        assert status["limits"]["idle_timeout"] is None
        assert status["tally"]["connections"] == 1
