"""One process takes the place of another: recycle, and what update and rollback are built on."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from muxi.errors import Conflict, FormationFailed, MuxiError, StorageError
from muxi.formation.replace import replace
from muxi.registry import store
from tests.formation.test_fleet import CRASHING, FOREVER, House, alive, configuration, house
from tests.live import APP, bundle, manifest
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from muxi.formation.operation import Operation
    from muxi.formation.owner import Owner
    from muxi.formation.releases import Release
    from muxi.formation.run import Run


def app_of(made: House) -> Path:
    return made.facilities.formations_dir / "my-bot" / "current" / "app.py"


def second_release(made: House, app: str = APP, **fields: object) -> Release:
    """Place another release, not committed."""
    root = made.facilities.workspace / "second"
    root.mkdir(parents=True)
    (root / "app.py").write_text(app)
    (root / "formation.afs").write_text(manifest("my-bot", **fields))
    releases = made.facilities.releases("my-bot")
    return releases.place(root, semantic="2.0.0", bundle_hash="cd" * 32, content_hash="ef" * 32)


def begin(made: House, release: Release, **options: object) -> Operation:
    """Give the owner an order that replaces, as an update does."""

    async def work(owner: Owner, operation: Operation) -> Mapping[str, object]:
        await replace(owner, operation, release, **options)  # type: ignore[arg-type]
        return {}

    return made.fleet._owners["my-bot"].submit("recycle", work)


def committing(made: House) -> dict[str, object]:
    async def commit(run: Run) -> None:
        await trio.to_thread.run_sync(made.facilities.releases("my-bot").commit, run.plan.pinned)

    return {"commit": commit}


async def test_a_recycled_formation_is_served_throughout_and_has_a_new_process(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        before, route = made.fleet.get("my-bot"), made.routes.live[b"my-bot"]
        old = route.target
        operation = made.fleet.recycle("my-bot", "over its soft memory limit")
        served = []
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                async with httpx.AsyncClient(verify=False, trust_env=False) as client:
                    while not operation.ended:
                        assert route.target is not None, "never without a target"
                        answer = await client.get(f"http://127.0.0.1:{route.target.port}/pid")
                        served.append(answer.json())

            nursery.start_soon(watch)
            await operation.wait()
        after = made.fleet.get("my-bot")
        assert after.pid != before.pid
        assert not alive(before.pid)
        assert set(served) == {before.pid, after.pid}
        assert route.target is not None
        assert route.target is not old
        assert route.target.port == after.port != before.port
        assert (after.restart_count, after.status) == (0, "running")
        assert after.reason == "recycled: over its soft memory limit"
        assert made.ports.allocated == 1
        assert made.ports.get("my-bot") == after.port
        record = made.registry.records["my-bot"]
        assert record.other is None
        assert record.process is not None
        assert (record.process.pid, record.port) == (after.pid, after.port)
        stages = list(dict.fromkeys(e.data["stage"] for e in operation.events if e.name == "progress"))
        assert stages[2:] == ["spawning_staging", "health_check", "swapping", "stopping_old"]


async def test_requests_under_way_end_on_the_old_process(tmp_path: Path) -> None:
    async with house(configuration(tmp_path, drain_timeout=30.0)) as made:
        await made.deploy("my-bot")
        before = made.fleet.get("my-bot")
        target = made.routes.live[b"my-bot"].target
        assert target is not None
        target.in_flight += 1
        operation = made.fleet.recycle("my-bot", "for the test")
        await until(lambda: operation.stage == "draining")
        view = made.fleet.get("my-bot")
        assert (view.status, view.pid != before.pid) == ("running", True)
        assert view.drain is not None
        assert view.drain.in_flight == 1
        assert alive(before.pid)
        target.in_flight -= 1
        target.emptied()
        await operation.wait()
        assert not alive(before.pid)
        assert made.fleet.get("my-bot").drain is None


@pytest.mark.parametrize("app", [CRASHING, FOREVER])
async def test_a_new_process_that_does_not_come_up_changes_nothing(tmp_path: Path, app: str) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot", bundle("my-bot", health={"startup_timeout": "1s"}))
        before, route = made.fleet.get("my-bot"), made.routes.live[b"my-bot"]
        target = route.target
        app_of(made).write_text(app)
        with pytest.raises(FormationFailed):
            await made.fleet.recycle("my-bot", "for the test").wait()
        after = made.fleet.get("my-bot")
        assert (after.pid, after.port, after.status) == (before.pid, before.port, "running")
        assert route.target is target
        assert made.ports.allocated == 1
        assert made.registry.records["my-bot"].other is None


async def test_a_stop_does_not_wait_for_it_and_neither_process_is_left(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        before = made.fleet.get("my-bot")
        app_of(made).write_text(FOREVER)
        operation = made.fleet.recycle("my-bot", "for the test")
        await until(lambda: bool((entry := made.registry.records["my-bot"].other) and entry.pid))
        entry = made.registry.records["my-bot"].other
        assert entry is not None
        await made.fleet.stop("my-bot").wait()
        with pytest.raises(Conflict, match="cancelled"):
            await operation.wait()
        assert not alive(entry.pid)
        assert not alive(before.pid)
        assert made.ports.allocated == 1


async def test_a_stop_after_the_switch_hurries_it_to_its_end(tmp_path: Path) -> None:
    async with house(configuration(tmp_path, drain_timeout=600.0)) as made:
        await made.deploy("my-bot")
        before = made.fleet.get("my-bot")
        target = made.routes.live[b"my-bot"].target
        assert target is not None
        target.in_flight += 1
        operation = made.fleet.recycle("my-bot", "for the test")
        await until(lambda: operation.stage == "draining")
        new = made.fleet.get("my-bot").pid
        await made.fleet.stop("my-bot").wait()
        assert (await operation.wait())["pid"] == new, "what was switched is no failure"
        assert not alive(before.pid)
        assert not alive(new)


async def test_another_release_takes_over_and_is_committed(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot", bundle("my-bot", proxy={"rate": 1}))
        route = made.routes.live[b"my-bot"]
        release = second_release(made, proxy={"rate": 2})
        assert route.policy.rate == 1
        await begin(made, release, **committing(made)).wait()
        assert route.policy.rate == 2
        current = made.facilities.releases("my-bot").current()
        assert current is not None
        assert current.number == 2
        assert current.pin is not None
        assert (current.pin.runtime, current.pin.reason) == ("native", "its manifest names no runtime")
        record = made.registry.records["my-bot"]
        assert record.process is not None
        assert record.process.release == 2
        await made.fleet.restart("my-bot").wait()
        assert record.process.release == 2


async def test_nobody_is_served_by_a_recreated_one_before_its_release_counts(tmp_path: Path) -> None:
    async def look(run: Run) -> None:
        route = made.routes.live[b"my-bot"]
        seen.append((run.instance.state, route.target, route.returning))
        await trio.lowlevel.checkpoint()

    seen: list[object] = []
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        await begin(made, second_release(made), strategy="recreate", commit=look).wait()
        assert seen == [("running", None, True)]
        assert made.routes.live[b"my-bot"].target is not None


@pytest.mark.parametrize("strategy", ["blue-green", "recreate"])
async def test_a_commit_that_fails_leaves_the_old_one(tmp_path: Path, strategy: str) -> None:
    async def refuse(_run: Run) -> None:
        record = store.load(made.registry.path).records["my-bot"]
        seen.append({entry.release for entry in (record.process, record.other) if entry is not None})
        await trio.lowlevel.checkpoint()
        raise StorageError("The disk is full.")

    seen: list[set[int]] = []
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        before = made.fleet.get("my-bot")
        release = second_release(made)
        with pytest.raises(StorageError):
            await begin(made, release, strategy=strategy, commit=refuse).wait()
        await made.until("my-bot", "running")
        after = made.fleet.get("my-bot")
        assert seen == [{1, 2} if strategy == "blue-green" else {2}], "both are known on disk by then"
        assert made.registry.records["my-bot"].process is not None
        assert made.registry.records["my-bot"].process.release == 1
        assert made.ports.allocated == 1
        assert (after.pid == before.pid) is (strategy == "blue-green")
        target = made.routes.live[b"my-bot"].target
        assert target is not None
        assert target.port == after.port == before.port
        assert not target.draining


async def test_recreate_ends_the_old_one_first_while_requests_are_held(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot", bundle("my-bot", strategy="recreate"))
        before, route = made.fleet.get("my-bot"), made.routes.live[b"my-bot"]
        operation = made.fleet.recycle("my-bot", "for the test")
        await until(lambda: route.target is None)
        assert route.returning, "requests are held"
        await operation.wait()
        after = made.fleet.get("my-bot")
        assert (after.port, after.pid == before.pid) == (before.port, False)
        assert not alive(before.pid)
        assert made.ports.allocated == 1


async def test_recreate_goes_back_when_the_new_one_does_not_come_up(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        before = made.fleet.get("my-bot")
        release = second_release(made, CRASHING)
        with pytest.raises(FormationFailed):
            await begin(made, release, strategy="recreate").wait()
        await made.until("my-bot", "running")
        after = made.fleet.get("my-bot")
        assert (after.port, after.pid == before.pid) == (before.port, False)
        assert made.registry.records["my-bot"].process is not None
        assert made.registry.records["my-bot"].process.release == 1


@pytest.mark.parametrize("strategy", ["blue-green", "recreate"])
async def test_the_end_of_the_server_leaves_neither(tmp_path: Path, strategy: str) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        before = made.fleet.get("my-bot")
        operation = begin(made, second_release(made, FOREVER), strategy=strategy)
        await until(lambda: operation.stage == "health_check")
        made.fleet.interrupt()
        await made.fleet.shut_down()
        with pytest.raises(MuxiError, match="shutting down"):
            await operation.wait()
        assert not alive(before.pid)
        record = made.registry.records["my-bot"]
        assert (record.process, record.other) == (None, None)


async def test_only_one_that_serves_is_recycled(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        await made.fleet.stop("my-bot").wait()
        with pytest.raises(Conflict, match="stopped"):
            made.fleet.recycle("my-bot", "for the test")


async def test_many_recycles_in_a_row_leak_no_port_and_no_process(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        pids = [made.fleet.get("my-bot").pid]
        for _ in range(8):
            await made.fleet.recycle("my-bot", "for the test").wait()
            pids.append(made.fleet.get("my-bot").pid)
        assert made.ports.allocated == 1
        assert [pid for pid in pids if alive(pid)] == pids[-1:]


async def test_a_crash_of_the_old_one_meanwhile_is_mended_as_ever(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        operation = begin(made, second_release(made, FOREVER))
        await until(lambda: operation.stage == "health_check")
        owner = made.fleet._owners["my-bot"]
        assert owner.run is not None
        pid = owner.run.instance.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await made.until("my-bot", "crashed")
        await made.until("my-bot", "running")
        assert made.fleet.get("my-bot").restart_count == 1
