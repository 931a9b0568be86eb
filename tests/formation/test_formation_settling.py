"""Orders are done when every process that proxies goes by what they have changed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from muxi.formation.drain import drain
from muxi.formation.operation import Operation
from muxi.registry.routes import RouteTable, Target
from tests.formation.test_fleet import configuration, house
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.registry.routes import Route


class SlowCopy:
    """A copy in another process that goes by no change before it is let to."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.waited_for = 0
        self.go = trio.Event()

    def publish(self, route: Route, *, draft: bool) -> None:
        self.told.append(f"{route.state} {'there' if route.target else 'nowhere'}")

    def withdraw(self, formation_id: str, *, draft: bool) -> None:
        self.told.append(f"no {formation_id}")

    def end(self, target: Target) -> None:
        self.told.append("end")

    async def settled(self) -> None:
        self.waited_for += 1
        await self.go.wait()


async def test_no_order_is_answered_before_all_go_by_it(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        for order in (made.fleet.stop, made.fleet.start, made.fleet.restart, made.fleet.delete):
            copy = SlowCopy()
            made.routes.copies[:] = [copy]
            operation = order("my-bot")
            await until(lambda copy=copy: copy.waited_for > 0)  # type: ignore[misc]
            assert not operation.ended
            copy.go.set()
            with trio.fail_after(60):
                await operation.wait()
            assert copy.told[-1].startswith(
                "no my-bot" if operation.kind == "delete" else ("running", "stopped")
            )


async def test_a_process_is_not_stopped_while_others_may_send_it_new_requests(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        pid = made.fleet.get("my-bot").pid
        assert pid
        copy = SlowCopy()
        made.routes.copies.append(copy)
        operation = made.fleet.stop("my-bot")
        await until(lambda: copy.waited_for == 1)
        assert copy.told[-1] == "stopping nowhere"
        os.kill(pid, 0)
        copy.go.set()
        await operation.wait()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_what_another_process_had_under_way_is_waited_for_though_it_was_not_known_of() -> None:
    target, copy = Target("127.0.0.1", 8000), SlowCopy()
    routes = RouteTable(copies=[copy])
    over: list[str] = []

    async def stop() -> None:
        await drain(target, routes, 60, Operation("stop", "bot"))
        over.append("drained")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop)
        await until(lambda: copy.waited_for == 1)
        target.in_flight = 1  # As it says together with its acknowledgement.
        copy.go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert (over, copy.told) == ([], [])
        target.in_flight = 0
        target.emptied()
    assert copy.told == ["end"]


async def test_a_cancelled_order_whose_work_is_done_is_done(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        await made.fleet.stop("my-bot").wait()
        copy = SlowCopy()
        made.routes.copies.append(copy)
        start = made.fleet.start("my-bot")
        await until(lambda: copy.waited_for == 1)
        stop = made.fleet.stop("my-bot")  # It cancels a start.
        copy.go.set()
        await start.wait()
        await stop.wait()
        assert made.fleet.get("my-bot").status == "stopped"
