"""Stopping lets what is under way end: progress is told, and the budget is kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.api.views import formation_item
from muxi.errors import Conflict
from muxi.formation.drain import drain, drain_view
from muxi.formation.operation import Operation
from muxi.formation.view import DrainView
from muxi.registry.routes import RouteTable, Target
from tests.formation.test_fleet import configuration, house
from tests.live import bundle
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

CRASHING_LATER = "import sys\nsys.exit(3)\n"


def busy(in_flight: int = 1, streams: int = 0, tunnels: int = 0) -> Target:
    return Target("127.0.0.1", 8000, in_flight=in_flight, streams=streams, tunnels=tunnels)


def finish(target: Target) -> None:
    target.in_flight -= 1
    target.emptied()


def table(ended: list[tuple[Target, float]], *, obedient: bool = True) -> RouteTable:
    def end(target: Target) -> None:
        ended.append((target, trio.current_time()))
        while obedient and target.in_flight:
            finish(target)

    return RouteTable(enders=[end])


async def test_nothing_under_way_is_no_wait_and_no_event(autojump_clock: MockClock) -> None:
    ended: list[tuple[Target, float]] = []
    operation, target = Operation("stop", "bot"), busy(0)
    begun = trio.current_time()
    await drain(target, table(ended), 10, operation)
    assert ended == [(target, begun)]
    assert operation.events == []


async def test_progress_is_told_once_a_second_until_the_last_has_ended(autojump_clock: MockClock) -> None:
    ended: list[tuple[Target, float]] = []
    operation, target = Operation("stop", "bot"), busy(3, streams=1, tunnels=1)

    async def end_slowly() -> None:
        await trio.sleep(1.5)
        target.streams = 0
        finish(target)
        await trio.sleep(1)
        finish(target)
        finish(target)

    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_slowly)
        await drain(target, table(ended), 10, operation)
    assert ended == [(target, begun + 2.5)]
    told = [event.data for event in operation.events]
    assert [data["stage"] for data in told] == ["draining", "draining", "draining", "stopping"]
    assert [data.get("seconds_left") for data in told] == [10, 9, 8, None]
    assert [data.get("in_flight") for data in told] == [3, 3, 2, None]
    assert [data.get("streams") for data in told] == [1, 1, 0, None]
    assert told[0]["tunnels"] == 1
    assert told[0]["message"] == "Waiting for 3 requests to end, 10 s at most..."


async def test_what_is_left_at_the_end_of_the_budget_is_ended(autojump_clock: MockClock) -> None:
    ended: list[tuple[Target, float]] = []
    target, begun = busy(), trio.current_time()
    await drain(target, table(ended), 2.5, Operation("stop", "bot"))
    assert ended == [(target, begun + 2.5)]
    assert trio.current_time() == begun + 2.5


async def test_what_does_not_even_end_then_is_not_waited_for_long(autojump_clock: MockClock) -> None:
    begun = trio.current_time()
    await drain(busy(), table([], obedient=False), 1, Operation("stop", "bot"))
    assert trio.current_time() == begun + 4


async def test_a_drain_that_is_cancelled_goes_on_with_what_was_left(autojump_clock: MockClock) -> None:
    ended: list[tuple[Target, float]] = []
    target, begun = busy(), trio.current_time()
    with trio.move_on_after(7):
        await drain(target, table(ended), 10, Operation("restart", "bot"))
    assert ended == []
    await drain(target, table(ended), 10, Operation("delete", "bot"))
    assert ended == [(target, begun + 10)]


async def test_the_view_is_rounded_up(autojump_clock: MockClock) -> None:
    target = busy(2, 1, 1)
    target.drain(9.2)
    assert drain_view(target) == DrainView(in_flight=2, streams=1, tunnels=1, seconds_left=10)
    await trio.sleep(20)
    assert drain_view(target).seconds_left == 0


async def test_a_stop_waits_and_shows_what_for(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        route = made.routes.live[b"my-bot"]
        target = route.target
        assert target is not None
        target.in_flight = target.streams = 1
        operation = made.fleet.stop("my-bot")
        await until(lambda: operation.stage == "draining")
        view = made.fleet.get("my-bot")
        assert (route.target, route.returning, route.state) == (None, False, "stopping")
        assert view.status == "stopping"
        assert view.pid
        assert view.drain is not None
        assert 0 < view.drain.seconds_left <= 10
        shown = formation_item(view)["drain"]
        assert shown == {"in_flight": 1, "streams": 1, "tunnels": 0, "seconds_left": view.drain.seconds_left}
        with pytest.raises(Conflict):
            made.fleet.start("my-bot")
        finish(target)
        await operation.wait()
        view = made.fleet.get("my-bot")
        assert (view.status, view.drain) == ("stopped", None)
        assert formation_item(view)["drain"] is None


async def test_a_stop_with_nothing_under_way_tells_of_no_drain(tmp_path: Path) -> None:
    async with house(configuration(tmp_path, drain_timeout=1000.0)) as made:
        await made.deploy("my-bot")
        operation = made.fleet.stop("my-bot")
        await operation.wait()
        assert [event.data["stage"] for event in operation.events if event.name == "progress"] == ["stopping"]


async def test_requests_are_held_through_a_restart_and_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool]] = []
    async with house(configuration(tmp_path, drain_timeout=0.05)) as made:
        await made.deploy("my-bot")
        route = made.routes.live[b"my-bot"]
        publish = RouteTable.publish

        def note(*arguments: object, **more: object) -> None:
            publish(*arguments, **more)  # type: ignore[arg-type]
            if route.target is None:
                seen.append((route.state, route.returning))

        monkeypatch.setattr(RouteTable, "publish", note)
        first = route.target
        assert first is not None
        first.in_flight = 1
        await made.fleet.restart("my-bot").wait()
        assert route.target not in {None, first}
        assert {state for state, _ in seen} >= {"stopping", "starting"}
        assert all(returning for _, returning in seen)
        seen.clear()
        pid = made.fleet.get("my-bot").pid
        assert pid is not None
        os.kill(pid, 9)
        await until(lambda: made.fleet.get("my-bot").restart_count == 1)
        await made.until("my-bot", "running")
        # The crash itself is told first, its cure a moment later, before anybody else can look.
        assert seen[0] == ("crashed", False)
        assert seen[1:] == [("crashed", True)] + [("restarting", True)] * (len(seen) - 2)
        seen.clear()
        await made.fleet.stop("my-bot").wait()
        assert seen
        assert not any(returning for _, returning in seen)


async def test_a_delete_takes_over_the_drain_of_a_restart(tmp_path: Path) -> None:
    async with house(configuration(tmp_path, drain_timeout=30.0)) as made:
        await made.deploy("my-bot")
        target = made.routes.live[b"my-bot"].target
        assert target is not None
        target.in_flight = 1
        restart = made.fleet.restart("my-bot")
        await until(lambda: restart.stage == "draining")
        deadline = target.drain_deadline
        delete = made.fleet.delete("my-bot")
        await until(lambda: delete.stage == "draining")
        assert target.drain_deadline == deadline
        assert not made.routes.live[b"my-bot"].returning
        finish(target)
        await delete.wait()
        assert made.routes.live == {}


async def test_a_parked_crash_is_not_waited_for(tmp_path: Path) -> None:
    async with house(configuration(tmp_path, auto_restart=False)) as made:
        await made.deploy("my-bot")
        pid = made.fleet.get("my-bot").pid
        assert pid is not None
        os.kill(pid, 9)
        await made.until("my-bot", "crashed")
        assert not made.routes.live[b"my-bot"].returning


async def test_a_start_that_fails_lets_go_of_what_was_held(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot", bundle("my-bot"))
        await made.fleet.stop("my-bot").wait()
        app = made.facilities.formations_dir / "my-bot" / "current" / "app.py"
        app.chmod(0o600)
        app.write_text(CRASHING_LATER)
        operation = made.fleet.start("my-bot")
        await until(lambda: made.routes.live[b"my-bot"].returning)
        await until(lambda: operation.ended)
        route = made.routes.live[b"my-bot"]
        assert (route.target, route.returning) == (None, False)
