"""Requests wait for a formation that will be back in a moment: bounded, in order, bodies unread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from muxi.proxy.limits import Limits
from muxi.registry.routes import Route, RoutePolicy, Target
from tests.proxy.house import GET, OK, House, Wire, canned, open_house
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"


def away(house: House, policy: RoutePolicy | None = None) -> Route:
    """Let the formation be one that comes back soon."""
    house.routes.publish("bot", "restarting", None, policy, returning=True)
    return house.routes.live[b"bot"]


async def held(house: House, number: int) -> None:
    await until(lambda: house.routes.live[b"bot"].traffic.holding == number)


async def test_a_held_request_goes_on_when_the_formation_is_there() -> None:
    async with open_house() as house:
        route = away(house)
        wire = await house.connect()
        await wire.send(GET)
        await held(house, 1)
        await house.formation(canned(OK))
        assert (await wire.reply()).body == b"ok"
        assert (await wire.ask(GET)).body == b"ok"
        assert (route.traffic.held, route.traffic.holding, route.waiting) == (1, 0, {})


async def test_all_go_on_in_the_order_in_which_they_came() -> None:
    order: list[bytes] = []

    async def script(wire: Wire) -> None:
        order.append((await wire.head()).split()[1])
        await wire.send(OK)

    async with open_house() as house:
        away(house)
        wires = [await house.connect() for _ in range(50)]
        for number, wire in enumerate(wires):
            await wire.send(GET.replace(b"/x", b"/%02d" % number))
            await held(house, number + 1)
        wires.pop(7).leave()
        await held(house, 49)
        await house.formation(script)
        for wire in wires:
            assert (await wire.reply()).status == 200
    assert len(order) == 49
    # The formation's own tasks may swap neighbours; we connect in order.
    assert sum(abs(place - sorted(order).index(path)) for place, path in enumerate(order)) <= 49


async def test_woken_ones_leave_the_queue_in_order() -> None:
    """Without sockets: the gate alone decides."""
    async with open_house() as house:
        route = away(house)
        wires = [await house.connect() for _ in range(10)]
        for number, wire in enumerate(wires):
            await wire.send(GET)
            await held(house, number + 1)
        places = list(route.waiting)
        left: list[object] = []
        house.routes.publish("bot", "running", Target("127.0.0.1", 1))
        while len(left) < 10:
            left += [place for place in places if place not in route.waiting and place not in left]
            await trio.lowlevel.checkpoint()
        assert left == places


async def test_what_is_over_the_number_is_refused_at_once() -> None:
    async with open_house() as house:
        route = away(house, RoutePolicy(hold_requests=1))
        first = await house.connect()
        await first.send(GET)
        await held(house, 1)
        reply = await (await house.connect()).ask(GET)
        assert reply.status == 503
        assert int(reply.header(b"retry-after") or b"0") > 0
        first.leave()
        await held(house, 0)
        assert not route.waiting
        third = await house.connect()
        await third.send(GET)
        await held(house, 1)


async def test_after_the_time_it_is_refused_and_the_connection_goes_on() -> None:
    async with open_house() as house:
        away(house, RoutePolicy(hold_timeout=0.05))
        wire = await house.connect()
        reply = await wire.ask(GET)
        assert reply.status == 503
        assert int(reply.header(b"retry-after") or b"0") > 0
        assert (await wire.ask(PING)).body == b"pong"


@pytest.mark.parametrize("policy", [RoutePolicy(hold_timeout=0), RoutePolicy(hold_requests=0)])
async def test_holding_can_be_switched_off(policy: RoutePolicy) -> None:
    async with open_house() as house:
        route = away(house, policy)
        assert (await (await house.connect()).ask(GET)).status == 503
        assert route.traffic.held == 0


@pytest.mark.parametrize("state", ["stopped", "crashed", "stopping"])
async def test_what_does_not_come_back_by_itself_is_refused_at_once(state: str) -> None:
    async with open_house() as house:
        house.routes.publish("bot", state, None)
        reply = await (await house.connect()).ask(GET)
        assert reply.status == 503
        assert state.encode() in reply.body


async def test_a_formation_that_will_not_come_back_after_all() -> None:
    async with open_house() as house:
        away(house)
        wires = [await house.connect() for _ in range(3)]
        for wire in wires:
            await wire.send(GET)
        await held(house, 3)
        house.routes.publish("bot", "restarting", None, returning=True)
        house.routes.publish("bot", "crashed", None)
        for wire in wires:
            assert (await wire.reply()).status == 503


async def test_a_formation_that_is_deleted_meanwhile() -> None:
    async with open_house() as house:
        away(house)
        wire = await house.connect()
        await wire.send(GET)
        await held(house, 1)
        house.routes.withdraw("bot")
        assert (await wire.reply()).status == 404


@pytest.mark.parametrize("leave", [Wire.leave, Wire.reset], ids=["fin", "rst"])
async def test_who_leaves_frees_its_place_at_once(leave: Callable[[Wire], None]) -> None:
    async with open_house() as house:
        route = away(house)
        wire = await house.connect()
        await wire.send(GET)
        await held(house, 1)
        leave(wire)
        await held(house, 0)
        assert not route.waiting
        await until(lambda: house.listener.open_connections == 0)


async def test_the_body_is_not_read_and_continue_is_not_said() -> None:
    bodies: list[bytes] = []

    async def script(wire: Wire) -> None:
        assert b"\r\nExpect: 100-continue\r\n" in await wire.head()
        await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        bodies.append(await wire.exactly(8 << 20))
        await wire.send(OK)

    async with open_house() as house:
        away(house)
        wire = await house.connect()
        await wire.send(
            b"POST /api/bot HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\nExpect: 100-continue\r\n\r\n"
        )
        await held(house, 1)
        with trio.move_on_after(0.1):
            raise AssertionError(await wire.receive())
        await house.formation(script)
        assert b" 100 " in await wire.head()
        await wire.send(b"x" * (8 << 20))
        assert (await wire.reply()).body == b"ok"
        assert len(bodies[0]) == 8 << 20


async def test_a_body_that_came_with_the_head_goes_along() -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        body = await wire.exactly(4)
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + body)

    async with open_house() as house:
        away(house)
        wire = await house.connect()
        await wire.send(b"POST /api/bot HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
        await held(house, 1)
        await house.formation(script)
        assert (await wire.reply()).body == b"body"


async def test_the_listener_s_end_lets_go_of_them() -> None:
    async with open_house() as house:
        away(house)
        wire = await house.connect()
        await wire.send(GET)
        await held(house, 1)
        assert await house.listener.drain(20) == 0
        reply = await wire.reply()
        assert (reply.status, reply.header(b"connection")) == (503, b"close")


async def fleeting(house: House) -> Target:
    """A target whose process has just ended: nobody listens there."""
    target = await house.formation(canned(OK))
    target.port = 1
    return target


BODY = b"POST /api/bot HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"


@pytest.mark.parametrize(
    "parts", [(GET,), (BODY + b"body",), (BODY + b"bo", b"dy")], ids=["get", "post", "upload"]
)
async def test_a_process_that_has_just_died_costs_nobody_an_answer(parts: tuple[bytes, ...]) -> None:
    async def script(wire: Wire) -> None:
        head = await wire.head()
        await wire.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
            + (await wire.exactly(4) if b"POST" in head else b"fine")
        )

    async with open_house() as house:
        await fleeting(house)
        wire = await house.connect()
        for part in parts:
            await wire.send(part)
        await held(house, 1)
        away(house)
        await held(house, 1)
        target = await house.formation(script)
        assert (await wire.reply()).body in {b"fine", b"body"}
        assert house.listener.tally.upstream_failures == 0
        await until(lambda: target.in_flight == 0)


async def test_a_process_that_has_died_for_good() -> None:
    async with open_house() as house:
        await fleeting(house)
        wire = await house.connect()
        await wire.send(GET)
        await held(house, 1)
        house.routes.publish("bot", "crashed", None)
        assert (await wire.reply()).status == 503


async def test_a_request_that_may_have_killed_a_process_does_not_go_to_the_next() -> None:
    asked = 0

    async with open_house(limits=Limits()) as house:
        over = trio.Event()

        async def script(wire: Wire) -> None:
            nonlocal asked
            await wire.head()
            await wire.send(OK)
            await wire.head()
            asked += 1
            target.port = 1
            house.listener._context.upstreams._pools.clear()
            over.set()

        target = await house.formation(script)
        wire = await house.connect()
        assert (await wire.ask(GET)).body == b"ok"
        pool = house.listener._context.upstreams.of(target)
        pool._address = ("127.0.0.1", 1)
        await wire.send(GET)
        assert (await wire.reply()).status == 502
        assert asked == 1


async def test_the_gate_holds_for_half_a_second_chance_only() -> None:
    """What takes no connection while its owner thinks it well is no target: 502, and soon."""
    async with open_house() as house:
        await fleeting(house)
        with trio.fail_after(10):
            assert (await (await house.connect()).ask(GET)).status == 502
