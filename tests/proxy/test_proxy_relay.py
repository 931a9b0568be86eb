"""Streams that have gone quiet: the poller passes on what comes, and hands everything else to the task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from muxi.registry.routes import RoutePolicy
from tests.proxy.house import GET, House, Wire, WireClosedError, open_house
from tests.waiting import until

if TYPE_CHECKING:
    from muxi.registry.routes import Target

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: 1\n\n\r\n"
LAST = b"0\r\n\r\n"
BULK = b"%x\r\n%b\r\n" % (8 << 20, bytes(8 << 20))


class Stream:
    """A formation whose stream says what the test says."""

    def __init__(self) -> None:
        self.wire: Wire | None = None
        self.requests = 0

    async def __call__(self, wire: Wire) -> None:
        while True:
            await wire.head()
            self.requests += 1
            self.wire = wire
            await wire.send(HEAD + EVENT)
            await until(lambda: self.wire is None)

    async def say(self, data: bytes) -> None:
        assert self.wire is not None
        await self.wire.send(data)


async def quiet(house: House, stream: Stream, policy: RoutePolicy | None = None) -> tuple[Wire, Target]:
    """A client that has had some events, each after a silence."""
    target = await house.formation(stream, policy=policy)
    client = await house.connect()
    await client.send(GET)
    await client.head()
    for number in range(4):
        assert await client.exactly(len(EVENT)) == EVENT
        if number < 3:
            await stream.say(EVENT)
    assert target.streams == 1
    return client, target


async def test_the_end_after_a_silence_leaves_both_connections_good() -> None:
    async with open_house() as house:
        stream = Stream()
        client, target = await quiet(house, stream)
        await stream.say(LAST)
        assert await client.exactly(len(LAST)) == LAST
        stream.wire = None
        await until(lambda: target.in_flight == 0 and target.streams == 0)
        await client.send(GET)
        await client.head()
        assert await client.exactly(len(EVENT)) == EVENT
        assert stream.requests == 2
        assert house.listener.tally.retries == 0


async def test_much_after_a_silence_arrives_whole() -> None:
    async with open_house() as house:
        stream = Stream()
        client, _ = await quiet(house, stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.say, BULK + EVENT)
            assert await client.exactly(len(BULK)) == BULK
        assert await client.exactly(len(EVENT)) == EVENT
        await stream.say(EVENT)
        assert await client.exactly(len(EVENT)) == EVENT


async def test_what_the_client_does_not_take_waits_for_it() -> None:
    async with open_house() as house:
        stream = Stream()
        client, _ = await quiet(house, stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.say, BULK)
            connection = next(iter(house.listener._context.connections))
            # Its socket is full, and the formation is held back.
            await until(lambda: bool(connection.unsent))
            assert await client.exactly(len(BULK)) == BULK
        await stream.say(EVENT)
        assert await client.exactly(len(EVENT)) == EVENT


@pytest.mark.parametrize("harm", [b"xx\r\n", b"reset", b"close"])
async def test_what_breaks_off_after_a_silence_never_looks_whole(harm: bytes) -> None:
    async with open_house() as house:
        stream = Stream()
        client, target = await quiet(house, stream)
        assert stream.wire is not None
        if harm == b"reset":
            stream.wire.reset()
        elif harm == b"close":
            stream.wire.leave()
        else:
            await stream.say(harm)
        with pytest.raises((trio.BrokenResourceError, WireClosedError)):
            await client.until(LAST)
        await until(lambda: target.in_flight == 0 and house.listener.open_connections == 0)
        assert house.listener.tally.upstream_failures == 1
        assert house.listener.tally.contained == 0
        stream.wire = None


async def test_who_leaves_in_a_silence_ends_it_at_once() -> None:
    async with open_house() as house:
        stream = Stream()
        client, target = await quiet(house, stream)
        client.leave()
        await until(lambda: target.in_flight == 0 and house.listener.open_connections == 0)
        assert not house.listener._context.poller._stirred
        stream.wire = None


async def test_who_leaves_in_a_silence_that_is_to_go_on_ends_nothing() -> None:
    async with open_house() as house:
        stream = Stream()
        policy = RoutePolicy(on_disconnect="continue")
        client, target = await quiet(house, stream, policy)
        client.reset()
        for _ in range(3):
            await stream.say(EVENT)
        assert target.in_flight == 1
        await stream.say(LAST)
        await until(lambda: target.in_flight == 0)
        assert house.routes.live[b"bot"].traffic.upstream_failures == 0
        stream.wire = None


async def test_a_fault_of_ours_in_the_poller_is_the_connection_s_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_house() as house:
        stream = Stream()
        client, _ = await quiet(house, stream)
        other = Stream()
        await house.formation(other, "other")
        bystander = await house.connect()
        await bystander.send(GET.replace(b"/bot/", b"/other/"))
        await bystander.head()
        await bystander.exactly(len(EVENT))

        def fail(_: object) -> None:
            raise RuntimeError("a fault")

        await trio.testing.wait_all_tasks_blocked()
        with monkeypatch.context() as patch:
            patch.setattr("muxi.proxy.bodies.ChunkedBody.take", fail)
            await stream.say(EVENT)
            await until(lambda: house.listener.tally.contained == 1)
        assert await client.gone()
        await other.say(EVENT)
        assert await bystander.exactly(len(EVENT)) == EVENT
        stream.wire = other.wire = None
