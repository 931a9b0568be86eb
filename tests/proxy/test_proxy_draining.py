"""A target that is to end: what is under way may finish, what does not is ended in good order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h11
import pytest
import trio
import trio.testing

from tests.proxy.house import GET, OK, House, Wire, canned, open_house
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muxi.registry.routes import Target

CHUNKS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Slow:
    """A formation that begins with `first` and ends with `last` when it may."""

    def __init__(self, first: bytes, last: bytes) -> None:
        self._first, self._last = first, last
        self.asked, self.go_on = trio.Event(), trio.Event()

    async def __call__(self, wire: Wire) -> None:
        await wire.head()
        await wire.send(self._first)
        self.asked.set()
        await self.go_on.wait()
        await wire.send(self._last)


async def under_way(house: House, slow: Slow) -> tuple[Wire, Target]:
    target = await house.formation(slow)
    wire = await house.connect()
    await wire.send(GET)
    with trio.fail_after(20):
        await slow.asked.wait()
    return wire, target


async def test_what_is_under_way_finishes_and_is_waited_for() -> None:
    slow = Slow(CHUNKS, b"0\r\n\r\n")
    async with open_house() as house:
        wire, target = await under_way(house, slow)
        done = []

        async def drain() -> None:
            done.append(await target.drained(20))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert target.draining
            assert not done
            new = await house.formation(canned(OK))
            assert (await (await house.connect()).ask(GET)).body == b"ok"
            assert (target.in_flight, new.in_flight) == (1, 0)
            slow.go_on.set()
            assert (await wire.reply()).status == 200
        assert done == [True]


async def test_one_with_nothing_under_way_is_drained_at_once() -> None:
    async with open_house() as house:
        target = await house.formation(canned(OK))
        with trio.fail_after(30):
            assert await target.drained(100)


async def test_the_budget_ends_the_wait() -> None:
    async with open_house() as house:
        _, target = await under_way(house, Slow(b"", b""))
        assert not await target.drained(0.02)
        # A second drain does not begin anew.
        assert not await target.drained(100)


async def test_what_has_not_answered_by_then_is_told_so() -> None:
    async with open_house() as house:
        wire, target = await under_way(house, Slow(b"", b""))
        house.routes.end(target)
        reply = await wire.reply()
        assert reply.status == 503
        assert int(reply.header(b"retry-after") or b"0") > 0
        await until(lambda: target.in_flight == 0)


async def test_what_has_begun_is_cut_so_that_it_shows() -> None:
    async with open_house() as house:
        wire, target = await under_way(house, Slow(b"HTTP/1.1 200 OK\r\n\r\nhalf", b""))
        other = await house.formation(canned(OK), "other")
        wire.pending = await wire.until(b"half")
        house.routes.end(target)
        with pytest.raises(h11.RemoteProtocolError):
            await wire.reply()
        await until(lambda: target.in_flight == 0)
        ask = GET.replace(b"/bot", b"/other")
        assert (await (await house.connect()).ask(ask)).body == b"ok"
        assert other.in_flight == 0


async def test_kept_connections_of_an_ended_target_are_closed() -> None:
    closed = trio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(OK)
        await wire.gone()
        closed.set()

    async with open_house() as house:
        target = await house.formation(script)
        assert (await (await house.connect()).ask(GET)).body == b"ok"
        house.routes.end(target)
        with trio.fail_after(30):
            await closed.wait()


def events_app(
    headers: list[tuple[bytes, bytes]], begun: trio.Event
) -> Callable[[Any, Any, Callable[[Any], Awaitable[None]]], Awaitable[None]]:
    async def app(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        assert scope["type"] == "http"
        assert receive
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})
        begun.set()
        await trio.sleep_forever()

    return app


TYPE = [(b"content-type", b"text/event-stream")]


async def test_an_event_stream_of_the_app_s_ends_whole_with_the_listener() -> None:
    begun = trio.Event()
    async with open_house(events_app(TYPE, begun)) as house:
        wire = await house.connect()
        await wire.send(b"GET /logs HTTP/1.1\r\nHost: a\r\n\r\n")
        with trio.fail_after(20):
            await begun.wait()
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert await house.listener.drain(1000) == 0
        assert (await wire.reply()).body == b"data: x\n\n"
        assert house.listener.tally.contained == 0


@pytest.mark.parametrize(("method", "headers"), [(b"POST", TYPE), (b"GET", [])], ids=["post", "plain"])
async def test_other_answers_of_the_app_s_have_their_time(
    method: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    begun = trio.Event()
    async with open_house(events_app(headers, begun)) as house:
        wire = await house.connect()
        await wire.send(method + b" /work HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        with trio.fail_after(20):
            await begun.wait()
            assert await house.listener.drain(0.05) == 1
