"""Who waits for whom before it is started."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from muxi.errors import RequestError
from muxi.formation.dependencies import Board
from muxi.formation.manifest import parse_manifest
from muxi.process.lifecycle import State
from tests.formation.test_fleet import configuration, house
from tests.live import APP, bundle
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

    from tests.formation.test_fleet import House


def waits_for_store(made: House) -> bool:
    return [view.reason for view in made.fleet.list() if view.id == "agent"] == ["waits for store"]


class Waiter:
    """A formation that waits, and what came of it."""

    def __init__(self, board: Board, formation_id: str, *wanted: str, timeout: float = 60.0) -> None:
        self.board, self.id, self.wanted, self.timeout = board, formation_id, wanted, timeout
        self.told: list[tuple[str, ...]] = []
        self.without: object = "waiting"

    async def wait(self) -> None:
        self.without = await self.board.wait(self.id, self.wanted, self.timeout, self.told.append)


async def test_it_waits_until_all_are_running() -> None:
    board = Board()
    for one in ("store", "search"):
        board.post(one, State.STARTING)
    waiter = Waiter(board, "agent", "store", "search")
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter.wait)
            await wait_all_tasks_blocked()
            board.post("search", State.RUNNING)
            await wait_all_tasks_blocked()
            assert waiter.without == "waiting"
            assert waiter.told == [("store", "search"), ("store",)]
            board.post("store", State.RUNNING)
    assert [waiter.without, waiter.told[-1]] == [{}, ()]


async def test_who_needs_nobody_does_not_wait() -> None:
    board = Board()
    board.post("store", State.RUNNING)
    for wanted in ((), ("store",)):
        waiter = Waiter(board, "agent", *wanted)
        await waiter.wait()
        assert [waiter.without, waiter.told] == [{}, []]


async def test_after_its_time_it_goes_on_without(autojump_clock: MockClock) -> None:
    board = Board()
    board.post("store", State.UNHEALTHY)
    waiter = Waiter(board, "agent", "store", timeout=60.0)
    await waiter.wait()
    assert trio.current_time() == pytest.approx(60.0)
    assert waiter.without == {"store": "it is unhealthy"}
    assert waiter.told == [("store",), ()]


async def test_what_can_not_come_is_not_waited_for() -> None:
    board = Board()
    board.post("store", State.STOPPED)
    waiter = Waiter(board, "agent", "store", "nobody")
    with trio.fail_after(30):
        await waiter.wait()
    assert waiter.without == {"store": "it is stopped", "nobody": "there is no such formation"}


async def test_a_circle_is_broken_by_who_comes_last() -> None:
    board = Board()
    for one in ("a", "b", "c"):
        board.post(one, State.STARTING)
    a, b, c = Waiter(board, "a", "b"), Waiter(board, "b", "c"), Waiter(board, "c", "a")
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for waiter in (a, b):
                nursery.start_soon(waiter.wait)
                await wait_all_tasks_blocked()
            await c.wait()
            assert c.without == {"a": "it waits for this one in turn"}
            assert b.without == "waiting"
            board.post("c", State.RUNNING)
            await wait_all_tasks_blocked()
            board.post("b", State.RUNNING)
    assert [a.without, b.without] == [{}, {}]


async def test_one_that_is_deleted_meanwhile_is_not_waited_for() -> None:
    board = Board()
    board.post("store", State.STARTING)
    waiter = Waiter(board, "agent", "store")
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter.wait)
            await wait_all_tasks_blocked()
            board.remove("store")
    assert waiter.without == {"store": "there is no such formation"}


async def test_who_is_cancelled_waits_no_more() -> None:
    board = Board()
    board.post("a", State.STARTING)
    board.post("b", State.STARTING)
    waiter = Waiter(board, "a", "b")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter.wait)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert waiter.told[-1] == ()
    assert not board._waits_for("a", "b")


@pytest.mark.parametrize(
    ("written", "read"),
    [("[store, search, store]", ("store", "search")), ("store", ("store",)), ("[]", ()), ("", ())],
)
def test_the_manifest_names_them(written: str, read: tuple[str, ...]) -> None:
    text = f"id: agent\ncommand: [x]\ndepends_on: {written}\n"
    assert parse_manifest(text.encode(), "formation.afs", ()).depends_on == read


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("[agent]", "depends_on names the formation itself"),
        ("{store: healthy}", "depends_on must be a list of ids"),
        ("[Not an Id]", "depends_on has 'Not an Id', which is no id"),
    ],
)
def test_what_makes_no_sense_is_refused(written: str, problem: str) -> None:
    text = f"id: agent\ncommand: [x]\ndepends_on: {written}\n"
    with pytest.raises(RequestError, match=problem):
        parse_manifest(text.encode(), "formation.afs", ())


async def test_after_a_restart_of_the_server_the_order_is_kept(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    waiting = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
    config = configuration(tmp_path)
    async with house(config) as made:
        await made.deploy("store", bundle("store", {"app.py": waiting + APP}))
        await made.deploy("agent", bundle("agent", depends_on=["store"]))
        assert made.fleet.get("agent").depends_on == ("store",)
        assert made.fleet.get("agent").reason is None
        await made.fleet.shut_down()
    gate.unlink()
    async with house(config) as made:
        # Who waits must not take the place of who is waited for.
        made.facilities = replace(made.facilities, restoring=trio.CapacityLimiter(1))
        made.fleet._facilities = made.facilities
        operations = await made.fleet.restore()
        await made.until("store", "starting")
        await until(lambda: waits_for_store(made))
        agent = made.fleet.get("agent")
        assert (agent.status, agent.pid) == ("starting", None)
        gate.touch()
        for operation in operations:
            await operation.wait()
        assert made.fleet.get("agent").status == "running"
        assert made.fleet.get("agent").reason is None


async def test_one_that_is_down_delays_a_start_and_does_not_prevent_it(tmp_path: Path) -> None:
    async with house(configuration(tmp_path, dependency_timeout=0.05)) as made:
        await made.deploy("agent", bundle("agent", depends_on=["store"]))
        view = made.fleet.get("agent")
        assert view.status == "running"
        assert view.reason == "started without store (there is no such formation)"
        await made.deploy("store", bundle("store", {"app.py": APP}))
        await made.fleet.restart("agent").wait()
        assert made.fleet.get("agent").reason is None


async def test_stopping_one_that_waits(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("store", bundle("store"))
        board = made.facilities.board
        board.post("store", State.UNHEALTHY)  # and nobody posts anything else
        operation = await made.begin("agent", bundle("agent", depends_on=["store"]))
        await until(lambda: waits_for_store(made))
        await made.fleet.delete("agent").wait()
        assert operation.error is not None
        assert not board._waits
