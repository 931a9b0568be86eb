"""What the proxy is told of a formation that can't serve for a while, or hangs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.formation.test_fleet import configuration, house
from tests.live import APP, bundle
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path


def app_with_health(switch: Path) -> str:
    """Return an app that is healthy while there is no such file."""
    return APP.replace(
        """self.answer(b'{"status":"healthy"}')""",
        f"""self.answer(b"", 503 if os.path.exists({str(switch)!r}) else 200)""",
    )


async def test_an_unhealthy_one_gets_no_new_requests_and_they_are_held(tmp_path: Path) -> None:
    switch = tmp_path / "unhealthy"
    config = configuration(tmp_path, health_check_interval=0.05, unhealthy_threshold=2)
    async with house(config) as made:
        await made.deploy("my-bot", bundle("my-bot", {"app.py": app_with_health(switch)}))
        before, route = made.fleet.get("my-bot"), made.routes.live[b"my-bot"]
        target = route.target
        assert target is not None
        target.in_flight += 1
        switch.touch()
        await made.until("my-bot", "unhealthy")
        assert (route.target, route.returning) == (None, True)
        view = made.fleet.get("my-bot")
        assert (view.healthy, view.pid, view.reason) == (False, before.pid, "GET /v1/health: 503")
        switch.unlink()
        await until(lambda: route.target is not None)
        assert route.target is target, "it is the same process, with what is under way to it"
        assert target.in_flight == 1
        assert not target.draining
        assert made.fleet.get("my-bot").restart_count == 0


async def test_the_bytes_and_requests_of_the_proxy_are_signs_of_life(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        run = made.fleet._owners["my-bot"].run
        assert run is not None
        assert run._activity() == (False, 0)
        route = made.routes.live[b"my-bot"]
        assert route.target is not None
        route.target.in_flight = 2
        route.traffic.bytes_in, route.traffic.bytes_out = 5, 7
        assert run._activity() == (True, 12)
