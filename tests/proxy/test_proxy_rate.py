"""Requests a second for one formation: what is over them is told when to come back."""

from __future__ import annotations

import pytest

from muxi.registry.routes import RoutePolicy
from tests.proxy.house import GET, OK, canned, open_house

SLOW = RoutePolicy(rate=0.001, burst=3)


async def test_over_the_burst_it_is_429_with_a_whole_number_of_seconds() -> None:
    async with open_house() as house:
        await house.formation(canned(OK), policy=SLOW)
        wire = await house.connect()
        assert [(await wire.ask(GET)).status for _ in range(5)] == [200, 200, 200, 429, 429]
        reply = await wire.ask(GET)
        assert b'"RATE_LIMITED"' in reply.body
        assert 990 <= int(reply.header(b"retry-after") or b"") <= 1000
        view = house.routes.live[b"bot"].traffic.snapshot()
        assert (view.rate_limited, view.by_status["4xx"], view.refused) == (3, 3, 0)


async def test_all_clients_share_it_and_other_formations_do_not() -> None:
    async with open_house() as house:
        await house.formation(canned(OK), policy=SLOW)
        await house.formation(canned(OK), "other")
        statuses = [(await (await house.connect()).ask(GET)).status for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        assert (await (await house.connect()).ask(GET.replace(b"bot", b"other"))).status == 200


async def test_a_new_state_does_not_fill_the_bucket_but_a_new_policy_does() -> None:
    async with open_house() as house:
        target = await house.formation(canned(OK), policy=SLOW)
        wire = await house.connect()
        for _ in range(3):
            await wire.ask(GET)
        house.routes.publish("bot", "running", target, RoutePolicy(rate=0.001, burst=3))
        assert (await wire.ask(GET)).status == 429
        house.routes.publish("bot", "running", target, RoutePolicy(rate=0.001, burst=4))
        assert (await wire.ask(GET)).status == 200
        house.routes.publish("bot", "running", target, RoutePolicy())
        assert house.routes.live[b"bot"].bucket is None


@pytest.mark.parametrize("state", ["stopped", "crashed"])
async def test_a_formation_that_is_not_there_is_limited_as_well(state: str) -> None:
    async with open_house() as house:
        house.routes.publish("bot", state, None, SLOW)
        wire = await house.connect()
        assert [(await wire.ask(GET)).status for _ in range(4)] == [503, 503, 503, 429]
