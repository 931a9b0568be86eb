"""A kept connection that turns out dead: repeated where it does no harm, never a POST twice."""

from __future__ import annotations

import pytest

from tests.proxy.house import GET, OK, House, Wire, open_house
from tests.waiting import until

POST = b"POST /api/bot HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
PUT = POST.replace(b"POST", b"PUT")


class Mortal:
    """Answers once on each connection; closes as the next request arrives on it, so it looks alive."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.connections = 0

    async def read(self, wire: Wire) -> None:
        head = await wire.head()
        self.requests.append(head[:4].strip())
        if b"Content-Length" in head:
            await wire.exactly(2)

    async def __call__(self, wire: Wire) -> None:
        self.connections += 1
        await self.read(wire)
        await wire.send(OK)
        await self.read(wire)


@pytest.mark.parametrize("request_", [GET, PUT], ids=["get", "put"])
async def test_idempotent_request_is_repeated_once_on_a_new_connection(request_: bytes) -> None:
    async with open_house() as house:
        mortal = Mortal()
        target = await house.formation(mortal)
        wire = await house.connect()
        for _ in range(2):
            assert (await wire.ask(request_)).body == b"ok"
        method = request_[:4].strip()
        assert mortal.requests == [method] * 3
        assert mortal.connections == 2
        assert house.listener.tally.retries == 1
        assert target.in_flight == 0


async def test_post_that_was_sent_is_not_sent_again() -> None:
    async with open_house() as house:
        mortal = Mortal()
        await house.formation(mortal)
        wire = await house.connect()
        assert (await wire.ask(POST)).body == b"ok"
        assert (await wire.ask(POST)).status == 502
        assert mortal.requests == [b"POST", b"POST"]
        assert (await wire.ask(POST)).body == b"ok"


async def test_failure_on_a_new_connection_is_not_repeated() -> None:
    heads = []

    async def script(wire: Wire) -> None:
        heads.append(await wire.head())

    async with open_house() as house:
        await house.formation(script)
        assert (await (await house.connect()).ask(GET)).status == 502
        assert len(heads) == 1


async def test_a_response_that_has_begun_is_not_asked_for_again() -> None:
    heads = []

    async def script(wire: Wire) -> None:
        heads.append(await wire.head())
        await wire.send(OK)
        heads.append(await wire.head())
        await wire.send(b"HTTP/1.1 2")

    async with open_house() as house:
        await house.formation(script)
        wire = await house.connect()
        assert (await wire.ask(GET)).body == b"ok"
        assert (await wire.ask(GET)).status == 502
        assert len(heads) == 2


def closed_upstreams(house: House) -> bool:
    pools = house.listener._context.upstreams._pools.values()
    return not any(upstream.is_fresh() for pool in pools for upstream in pool._idle)


@pytest.mark.parametrize("unasked", [b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
async def test_dead_or_talking_idle_connections_are_not_used(unasked: bytes) -> None:
    """Even a POST goes through then: nothing of it had been sent."""
    connections = 0

    async def script(wire: Wire) -> None:
        nonlocal connections
        connections += 1
        await wire.head()
        await wire.exactly(2)
        await wire.send(OK)
        await wire.send(unasked)

    async with open_house() as house:
        await house.formation(script)
        wire = await house.connect()
        for expected in (1, 2):
            assert (await wire.ask(POST)).body == b"ok"
            assert connections == expected
            await until(lambda: closed_upstreams(house))
        assert house.listener.tally.retries == 0
