"""What becomes of running formations when the server is replaced, or killed, and the next one starts."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest
import trio

from muxi.errors import Conflict, MuxiError, OperatorError
from muxi.process.instance import Instance
from muxi.registry import store
from muxi.registry.records import encode
from muxi.registry.store import Registry
from tests.formation.test_fleet import FOREVER, House, configuration, house
from tests.live import bundle
from tests.process.conftest import alive
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from muxi.config.model import Config
    from muxi.formation.view import FormationView


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Config]:
    """A configuration; what its processes are at the end of the test, is killed."""
    made = configuration(tmp_path)
    yield made
    for record in store.load(made.paths.data_dir / "registry.json").records.values():
        for entry in filter(None, (record.process, record.other)):
            if entry.pid and alive(entry.pid):
                os.kill(entry.pid, signal.SIGKILL)


@asynccontextmanager
async def killed(config: Config, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """Run a fleet that ends as a killed server does: without ending anything, or writing it down."""

    async def end(instance: Instance) -> None:
        instance._leave_running()

    async def nothing(*_: object) -> None:
        pass

    with monkeypatch.context() as patch:
        async with house(config) as made:
            yield made
            patch.setattr(Instance, "_leave_nothing", end)
            patch.setattr(Instance, "kill", nothing)
            patch.setattr(Registry, "put", lambda *_: None)


async def restored(made: House, formation_id: str = "my-bot") -> FormationView:
    for operation in await made.fleet.restore():
        await operation.wait()
    return made.fleet.get(formation_id)


async def ask(view: FormationView) -> object:
    async with httpx.AsyncClient(verify=False, trust_env=False) as client:
        return (await client.get(f"http://127.0.0.1:{view.port}/pid")).json()


async def test_processes_that_are_let_go_run_on_and_are_adopted_as_they_are(config: Config) -> None:
    async with house(config) as made:
        await made.deploy("my-bot")
        await made.deploy("stopped-bot")
        await made.fleet.stop("stopped-bot").wait()
        before = made.fleet.get("my-bot")
        assert await made.fleet.detach(1.0) == 1
        for order in (made.fleet.restart, made.fleet.stop):
            with pytest.raises(OperatorError, match="shutting down"):
                order("my-bot")
    assert alive(before.pid or 0)
    async with house(config) as made:
        after = await restored(made)
        assert (after.pid, after.port, after.restart_count) == (before.pid, before.port, 0)
        assert (after.status, after.healthy, after.adopted) == ("running", True, True)
        assert made.routes.live[b"my-bot"].target is not None
        assert await ask(after) == before.pid
        assert made.fleet.get("stopped-bot").status == "stopped"
        assert made.ports.allocated == 2
        await made.fleet.restart("my-bot").wait()
        assert not alive(before.pid or 0)
        assert made.fleet.get("my-bot").adopted is False


async def test_a_formation_that_is_brought_back_can_be_waited_for(config: Config) -> None:
    async with house(config) as made:
        await made.deploy("my-bot")
    async with house(config) as made:
        await made.fleet.brought_back("nobody")
        (restoring,) = await made.fleet.restore()
        assert restoring.result is None
        await made.fleet.brought_back("my-bot")
        assert restoring.ended
        assert made.fleet.get("my-bot").status == "running"
        # Anything else is not waited for.
        restarting = made.fleet.restart("my-bot")
        await made.fleet.brought_back("my-bot")
        assert not restarting.ended
        await restarting.wait()


async def test_what_was_never_committed_can_be_deployed_once_it_is_cleared_away(config: Config) -> None:
    async with house(config) as made:
        await made.deploy("my-bot")
        (config.formations.formations_dir / "my-bot" / "version.json").unlink()
        (config.formations.formations_dir / "my-bot" / "current").unlink()
    async with house(config) as made:
        (restoring,) = await made.fleet.restore()
        with pytest.raises(Conflict, match="already exists"):
            await made.deploy("my-bot")
        await made.fleet.brought_back("my-bot")
        assert (await restoring.wait())["status"] == "removed"
        await made.deploy("my-bot")
        assert made.fleet.get("my-bot").status == "running"


@pytest.mark.parametrize("how", ["stop", "delete", "shut down"])
async def test_a_restore_that_is_cut_short_leaves_no_process(
    config: Config, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Else one of an earlier server would run on that nobody looks after."""

    async def never(*_: object) -> None:
        reading.set()
        await trio.sleep_forever()

    reading = trio.Event()
    async with house(config) as made:
        await made.deploy("my-bot")
        before = made.fleet.get("my-bot").pid
        assert await made.fleet.detach(1.0) == 1
    assert before is not None
    assert alive(before)
    async with house(config) as made:
        monkeypatch.setattr("muxi.formation.adopting.read_plan", never)
        await made.fleet.restore()
        await reading.wait()
        if how == "shut down":
            await made.fleet.shut_down()
        else:
            await getattr(made.fleet, how)("my-bot").wait()
        assert not alive(before)
        record = made.registry.records.get("my-bot")
        assert record is None or record.process is None


async def test_an_adopted_process_is_supervised_as_any_other(config: Config) -> None:
    async with house(config) as made:
        await made.deploy("my-bot")
        await made.fleet.detach(1.0)
    async with house(config) as made:
        before = await restored(made)
        assert before.pid is not None
        os.kill(before.pid, signal.SIGKILL)
        await made.until("my-bot", "crashed")
        await made.until("my-bot", "running")
        after = made.fleet.get("my-bot")
        assert (after.restart_count, after.port, after.adopted) == (1, before.port, False)
        assert after.last_exit is not None
        assert after.last_exit.describe() == "killed by SIGKILL"  # it was our child still
        await made.registry.flush()
        entry = store.load(made.registry.path).records["my-bot"].process
        assert entry is not None
        assert entry.pid == after.pid
        await made.fleet.delete("my-bot").wait()
        assert made.ports.allocated == 0


async def test_letting_go_gives_orders_under_way_their_time_and_then_undoes_them(config: Config) -> None:
    async with house(config) as made:
        await made.deploy("my-bot")
        never = await made.begin("half-bot", bundle("half-bot", {"app.py": FOREVER}))
        await until(lambda: any(view.pid and view.id == "half-bot" for view in made.fleet.list()))
        pid = made.fleet.get("half-bot").pid
        assert await made.fleet.detach(0.05) == 1
        with pytest.raises(OperatorError, match="shutting down"):
            await never.wait()
        assert not alive(pid or 0)
        assert set(store.load(made.registry.path).records) == {"my-bot"}


async def test_what_the_next_server_could_not_prove_is_ended_instead(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muxi.process.exits.open_pidfd", lambda _pid: None)  # as on an old kernel
    async with house(config) as made:
        await made.deploy("my-bot")
        pid = made.fleet.get("my-bot").pid
        assert await made.fleet.detach(1.0) == 0
        assert not alive(pid or 0)


async def test_letting_go_of_one_that_crashed_leaves_it_to_the_next(config: Config) -> None:
    config = replace(config, formations=replace(config.formations, restart_delay=600.0))
    async with house(config) as made:
        await made.deploy("my-bot")
        pid = made.fleet.get("my-bot").pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await made.until("my-bot", "crashed")
        assert await made.fleet.detach(1.0) == 0
    async with house(config) as made:
        assert (await restored(made)).status == "running"


async def test_after_a_kill_the_running_process_is_adopted(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with killed(config, monkeypatch) as made:
        await made.deploy("my-bot")
        before = made.fleet.get("my-bot")
        await made.registry.flush()
    async with house(config) as made:
        after = await restored(made)
        assert (after.pid, after.adopted, after.status) == (before.pid, True, "running")


@pytest.mark.parametrize("change", ["release", "boot_id", "start_ticks", "token_sha256"])
async def test_what_is_not_proved_or_not_committed_is_not_adopted(
    config: Config, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Another release than the committed one is ended; a stranger is left alone, and not routed to."""
    async with killed(config, monkeypatch) as made:
        await made.deploy("my-bot")
        before = made.fleet.get("my-bot")
        await made.registry.flush()
        record = made.registry.records["my-bot"]
        assert record.process is not None
        truth = record.process
        other: dict[str, object] = {change: 99 if change in {"release", "start_ticks"} else "another"}
        record.process = msgspec.structs.replace(record.process, **other)
        made.registry._saver.mark()
        await made.registry.flush()
    assert before.pid is not None
    try:
        async with house(config) as made:
            after = await restored(made)
            assert after.status == "running"
            assert after.pid != before.pid
            assert not after.adopted
            stranger = change in {"boot_id", "token_sha256"}
            ours_by_token = change == "start_ticks"
            assert alive(before.pid) is (stranger and not ours_by_token)
            if stranger:
                assert after.port != before.port
                assert after.reason is not None
                assert f"port {before.port} is held by a process that is not ours" in after.reason
    finally:
        if alive(truth.pid):
            os.kill(truth.pid, signal.SIGKILL)


async def test_a_stopped_formation_is_not_adopted(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server was killed while it stopped it."""
    async with killed(config, monkeypatch) as made:
        await made.deploy("my-bot")
        pid = made.fleet.get("my-bot").pid
        made.registry.records["my-bot"].stopped = True
        made.registry._saver.mark()
        await made.registry.flush()
    async with house(config) as made:
        assert (await restored(made)).status == "stopped"
        assert not alive(pid or 0)


async def test_one_whose_port_a_stranger_listens_on_is_not_taken_at_its_record_s_word(
    config: Config,
) -> None:
    async with house(config) as made:
        await made.deploy("my-bot", bundle("my-bot", health={"startup_timeout": "1s"}))
        before = made.fleet.get("my-bot")
        await made.fleet.detach(1.0)
        record = made.registry.records["my-bot"]
        path = made.registry.path
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        record.port = foreign = int(stranger.getsockname()[1])
        assert record.process is not None
        record.process = msgspec.structs.replace(record.process, port=foreign)
        path.write_bytes(encode([record], now=1.0))
        async with house(config) as made:
            (operation,) = await made.fleet.restore()
            with pytest.raises(MuxiError, match="failed health check"):
                await operation.wait()
            await made.until("my-bot", "running")
            after, target = made.fleet.get("my-bot"), made.routes.live[b"my-bot"].target
            assert target is not None
            assert target.port == after.port != foreign
            assert after.pid != before.pid
            assert not alive(before.pid or 0)


async def test_a_recycle_cut_short_by_a_kill_leaves_exactly_the_serving_one(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with killed(config, monkeypatch) as made:
        await made.deploy("my-bot")
        before = made.fleet.get("my-bot")
        app = made.facilities.formations_dir / "my-bot" / "current" / "app.py"
        good = app.read_text()
        app.write_text(FOREVER)
        made.fleet.recycle("my-bot", "for the test")
        await until(lambda: made.registry.records["my-bot"].other is not None)
        await until(lambda: bool(made.registry.records["my-bot"].other.pid))  # type: ignore[union-attr]
        other = made.registry.records["my-bot"].other
        assert other is not None
        await made.registry.flush()
        app.write_text(good)
    assert alive(before.pid or 0)
    assert alive(other.pid)
    async with house(config) as made:
        after = await restored(made)
        assert (after.pid, after.port, after.adopted) == (before.pid, before.port, True)
        assert not alive(other.pid)
        assert made.registry.records["my-bot"].other is None
        assert made.ports.allocated == 1


async def test_an_update_cut_short_after_the_switch_goes_by_what_is_committed(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry names the new one first; version.json does not: the old one is adopted."""
    async with killed(config, monkeypatch) as made:
        await made.deploy("my-bot")
        await made.registry.flush()
        record = made.registry.records["my-bot"]
        assert record.process is not None
        old, port = record.process, record.port
        record.other = old
        record.process = msgspec.structs.replace(old, release=2, port=port + 1, pid=0, token_sha256="0" * 64)
        record.port = port + 1
        made.registry._saver.mark()
        await made.registry.flush()
    async with house(config) as made:
        after = await restored(made)
        assert (after.pid, after.port, after.adopted) == (old.pid, port, True)
        assert made.ports.get("my-bot") == port
        assert made.ports.allocated == 1


async def test_a_busy_server_can_still_refuse_in_good_order(config: Config) -> None:
    async with house(config) as made:
        await made.deploy("my-bot")
        recycling = made.fleet.recycle("my-bot", "for the test")
        with pytest.raises(Conflict):
            made.fleet.recycle("my-bot", "twice")
        await recycling.wait()
