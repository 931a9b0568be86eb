"""What a manifest says under `proxy:` reaches the route, and is within the server's limits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from muxi.config.proxy import ProxyConfig
from muxi.errors import RequestError
from muxi.registry.routes import RoutePolicy
from tests.formation.test_fleet import configuration, house
from tests.live import bundle

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_release_brings_its_policy(tmp_path: Path) -> None:
    config = replace(configuration(tmp_path), proxy=ProxyConfig(hold_timeout=7.0))
    async with house(config) as made:
        await made.deploy("my-bot", bundle("my-bot", proxy={"rate": 2.5, "cors": False}))
        route = made.routes.live[b"my-bot"]
        assert route.policy == RoutePolicy(rate=2.5, cors=False, hold_timeout=7.0)
        assert route.bucket is not None
        await made.fleet.stop("my-bot").wait()
        await made.fleet.start("my-bot").wait()
        assert made.routes.live[b"my-bot"] is route
        assert route.policy.rate == 2.5
        assert made.fleet.get("my-bot").traffic is not None


async def test_one_that_asks_for_too_much_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    config = replace(configuration(tmp_path), proxy=ProxyConfig(max_body_size=1024))
    async with house(config) as made:
        with pytest.raises(RequestError, match="more than this server allows, 1K"):
            await made.deploy("my-bot", bundle("my-bot", proxy={"max_body_size": "1M"}))
        assert made.routes.live == {}
