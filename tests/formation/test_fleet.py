from __future__ import annotations

import os
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from muxi.config.model import Config, Paths, defaults
from muxi.errors import Conflict, FormationFailed, MuxiError, NotFound, OperatorError, RequestError
from muxi.formation.facilities import Facilities
from muxi.formation.fleet import Fleet
from muxi.formation.releases import Releases
from muxi.formation.upload import Upload, receive
from muxi.process.spawn import spawn
from muxi.registry import store
from muxi.registry.ports import PortPool
from muxi.registry.records import ProcessRecord
from muxi.registry.routes import RouteTable
from tests.live import bundle, free_ports
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from muxi.formation.operation import Operation
    from muxi.process.handle import Handle
    from muxi.process.spec import ProcessSpec

FOREVER = "import time\nprint('not listening', flush=True)\ntime.sleep(600)\n"
CRASHING = "import sys\nprint('about to fail', flush=True)\nsys.exit('the reason')\n"


def configuration(tmp_path: Path, **changes: object) -> Config:
    paths = Paths(*(tmp_path / name for name in ("config", "data", "log", "cache", "config/config.yaml")))
    config = defaults(paths)
    check = replace(config.formations.deployment.health_check, interval=0.05, timeout=30.0)
    deployment = replace(config.formations.deployment, health_check=check, force_kill_timeout=2.0)
    formations = replace(
        config.formations, deployment=deployment, port_range=free_ports(), restart_delay=0.05
    )
    return replace(config, formations=replace(formations, **changes))  # type: ignore[arg-type]


class House:
    """A fleet with its facilities, as the server composes it."""

    def __init__(self, config: Config) -> None:
        for directory in (config.formations.formations_dir, config.formations.logs_dir):
            directory.mkdir(parents=True, exist_ok=True)
        start, end = config.formations.port_range
        self.config = config
        self.registry = store.load(config.paths.data_dir / "registry.json")
        self.routes = RouteTable()
        self.ports = PortPool(start, end)
        self.log_problems: dict[str, str] = {}
        self.facilities = Facilities(
            config=config,
            registry=self.registry,
            ports=self.ports,
            routes=self.routes,
            server_url="http://localhost:7890",
            search_path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            restoring=trio.CapacityLimiter(4),
            log_problems=self.log_problems,
        )
        self.fleet = Fleet(self.facilities)

    async def upload(self, content: bytes) -> Upload:
        async def chunks() -> AsyncIterator[bytes]:
            yield content

        return await receive(chunks(), self.facilities.workspace, 1 << 30)

    async def begin(
        self, formation_id: str, content: bytes | None = None, version: str | None = None
    ) -> Operation:
        upload = await self.upload(bundle(formation_id) if content is None else content)
        return self.fleet.deploy(upload, formation_id, version)

    async def deploy(self, formation_id: str, content: bytes | None = None) -> None:
        await (await self.begin(formation_id, content)).wait()

    def files(self) -> set[str]:
        data = self.config.paths.data_dir
        return {str(path.relative_to(data)) for path in data.rglob("*") if "registry.json" not in path.name}

    async def until(self, formation_id: str, status: str) -> None:
        await until(lambda: self.routes.live[formation_id.encode()].state == status)


@asynccontextmanager
async def house(config: Config, *, deadline: float = 60.0) -> AsyncIterator[House]:
    """Run a fleet; at the end everything still running is killed."""
    made = House(config)
    with trio.fail_after(deadline):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.registry.run)
            await nursery.start(made.fleet.run)
            yield made
            nursery.cancel_scope.cancel()


def alive(pid: int | None) -> bool:
    assert pid is not None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_deploy_ends_with_a_healthy_process_a_route_and_a_committed_release(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        operation = await made.begin("my-bot")
        result = await operation.wait()
        view = made.fleet.get("my-bot")
        route = made.routes.live[b"my-bot"]
        assert (view.status, view.healthy, view.restart_count) == ("running", True, 0)
        assert route.state == "running"
        assert route.target is not None
        assert route.target.port == view.port == result["port"]
        assert alive(view.pid)
        assert (made.facilities.formations_dir / "my-bot" / "current" / "app.py").is_file()
        assert set(store.load(made.registry.path).records) == {"my-bot"}
        assert [path.name for path in made.facilities.workspace.iterdir()] == []
        stages = list(dict.fromkeys(str(e.data["stage"]) for e in operation.events if e.name == "progress"))
    expected = ["extracting", "validating", "resolving_runtime", "spawning", "health_check"]
    assert stages == expected
    assert not alive(view.pid), "cancelling the fleet ends its processes"


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (bundle("my-bot", {"app.py": CRASHING}), "HealthCheckFailed", "exit status 1"),
        (bundle("other-bot"), "IDMismatch", "mismatch"),
        (bundle("my-bot", muxi_runtime="one", description="It chats."), "InvalidRuntime", "not a version"),
        (bundle("my-bot", command=["no-such-program"]), "SpawnError", "no-such-program"),
        (bundle("my-bot", note="${{ secrets.KEY }}"), "SecretsError", "KEY"),
        (b"not a bundle", "ExtractError", "Failed to extract bundle"),
    ],
    ids=["crash", "id", "runtime", "program", "secrets", "archive"],
)
async def test_a_deploy_that_fails_says_why_and_leaves_nothing(
    tmp_path: Path, content: bytes, code: str, words: str
) -> None:
    async with house(configuration(tmp_path)) as made:
        before = made.files()
        operation = await made.begin("my-bot", content)
        with pytest.raises(MuxiError) as caught:
            await operation.wait()
        assert caught.value.code == code
        assert words in caught.value.message
        assert made.files() == before | {"formations/.tmp"}
        assert made.fleet.list() == []
        assert made.routes.live == {}
        assert made.ports.allocated == 0
        assert made.registry.records == {}
        await made.deploy("my-bot")


async def test_a_crash_at_start_is_explained_by_exit_status_and_log(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        operation = await made.begin("my-bot", bundle("my-bot", {"app.py": CRASHING}))
        with pytest.raises(FormationFailed) as caught:
            await operation.wait()
    assert caught.value.message.startswith("Formation crashed during startup: ")
    assert caught.value.stage == "health_check"
    assert "about to fail" in str(caught.value.details["log_tail"])
    assert "the reason" in str(caught.value.details["log_tail"])


async def test_a_formation_that_never_answers_fails_after_its_own_time_out(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        silent = bundle("my-bot", {"app.py": FOREVER}, health={"startup_timeout": "200ms"})
        operation = await made.begin("my-bot", silent)
        with pytest.raises(FormationFailed, match="Formation failed health check after "):
            await operation.wait()
        assert made.fleet.list() == []


async def test_a_version_that_the_request_states_must_be_the_manifests(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        operation = await made.begin("my-bot", version="2.0.0")
        with pytest.raises(RequestError) as caught:
            await operation.wait()
        assert caught.value.code == "VersionMismatch"


async def test_a_deploy_under_way_is_visible_and_refuses_a_second_one(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        operation = await made.begin("my-bot", bundle("my-bot", {"app.py": FOREVER}))
        await until(lambda: bool(made.fleet.list()))
        await made.until("my-bot", "starting")
        assert made.fleet.get("my-bot").operation_id == operation.id
        with pytest.raises(Conflict) as caught:
            await made.begin("my-bot")
        assert caught.value.code == "FormationExists"
        assert caught.value.details["operation_id"] == operation.id
        with pytest.raises(Conflict) as busy:
            made.fleet.restart("my-bot")
        assert busy.value.details["operation_id"] == operation.id


async def test_deleting_a_deploy_under_way_cancels_and_undoes_it(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        operation = await made.begin("my-bot", bundle("my-bot", {"app.py": FOREVER}))
        await until(lambda: any(view.pid is not None for view in made.fleet.list()))
        pid = made.fleet.get("my-bot").pid
        await made.fleet.delete("my-bot").wait()
        with pytest.raises(Conflict) as caught:
            await operation.wait()
        assert caught.value.code == "Cancelled"
        assert not alive(pid)
        assert made.ports.allocated == 0
        assert not (made.facilities.formations_dir / "my-bot").exists()
        with pytest.raises(NotFound):
            made.fleet.get("my-bot")


async def test_stop_start_restart_delete(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        first = made.fleet.get("my-bot")
        with pytest.raises(Conflict, match="already running"):
            made.fleet.start("my-bot")

        await made.fleet.stop("my-bot").wait()
        stopped = made.fleet.get("my-bot")
        assert (stopped.status, stopped.pid, stopped.healthy, stopped.uptime) == ("stopped", None, False, 0)
        assert made.routes.live[b"my-bot"].target is None
        assert not alive(first.pid)
        assert made.ports.get("my-bot") == first.port, "its port stays its own"
        with pytest.raises(Conflict, match="already stopped"):
            made.fleet.stop("my-bot")

        result = await made.fleet.start("my-bot").wait()
        assert (result["status"], result["port"]) == ("running", first.port)
        second = made.fleet.get("my-bot")

        await made.fleet.restart("my-bot").wait()
        third = made.fleet.get("my-bot")
        assert len({first.pid, second.pid, third.pid}) == 3
        assert third.restart_count == 0, "a person's restart does not count"

        await made.fleet.delete("my-bot").wait()
        assert not alive(third.pid)
        assert made.files() == {"formations", "formations/.tmp", "logs"}
        for ask in (made.fleet.get, made.fleet.start, made.fleet.delete, made.fleet.log_files):
            with pytest.raises(NotFound):
                ask("my-bot")


async def test_a_killed_process_comes_back_by_itself_and_says_why(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        before = made.fleet.get("my-bot")
        assert before.pid is not None
        os.kill(before.pid, 9)
        await made.until("my-bot", "crashed")
        assert made.routes.live[b"my-bot"].target is None
        await made.until("my-bot", "running")
        after = made.fleet.get("my-bot")
        assert (after.restart_count, after.port) == (1, before.port)
        assert after.pid != before.pid
        assert after.last_exit is not None
        assert after.last_exit.describe() == "killed by SIGKILL"


async def test_a_start_that_fails_leaves_a_stopped_process_and_a_reason(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        await made.fleet.stop("my-bot").wait()
        app = made.facilities.formations_dir / "my-bot" / "current" / "app.py"
        good = app.read_text()
        app.write_text(CRASHING)
        with pytest.raises(FormationFailed):
            await made.fleet.start("my-bot").wait()
        view = made.fleet.get("my-bot")
        assert (view.status, view.pid) == ("crashed", None)
        assert view.reason
        app.write_text(good)
        await made.fleet.start("my-bot").wait()
        assert made.fleet.get("my-bot").status == "running"


async def test_what_ran_runs_again_after_a_restart_of_the_server_and_what_was_stopped_does_not(
    tmp_path: Path,
) -> None:
    config = configuration(tmp_path)
    async with house(config) as made:
        await made.deploy("running-bot")
        await made.deploy("stopped-bot")
        await made.fleet.stop("stopped-bot").wait()
        port = made.fleet.get("running-bot").port
        await made.fleet.shut_down()
        await made.registry.flush()
        with pytest.raises(OperatorError, match="shutting down"):
            made.fleet.restart("running-bot")
    async with house(config) as made:
        for operation in await made.fleet.restore():
            await operation.wait()
        views = {view.id: view.status for view in made.fleet.list()}
        assert views == {"running-bot": "running", "stopped-bot": "stopped"}
        assert made.fleet.get("running-bot").port == port


async def test_a_formation_survives_the_loss_of_the_registry(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    async with house(config) as made:
        await made.deploy("my-bot")
    made.registry.path.write_text("{broken")
    async with house(config) as made:
        for operation in await made.fleet.restore():
            await operation.wait()
        view = made.fleet.get("my-bot")
        assert view.status == "running"
        assert view.version is not None
        assert view.version.semantic == "1.0.0"


async def test_what_marks_a_process_is_on_disk_before_the_process_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a server killed in that moment would leave a process that nobody knows."""
    seen: list[object] = []

    async def note_and_spawn(spec: ProcessSpec, **how: Any) -> Handle:
        (record,) = store.load(tmp_path / "data" / "registry.json").records.values()
        seen.append(record.process)
        return await spawn(spec, **how)

    monkeypatch.setattr("muxi.formation.facilities.spawn", note_and_spawn)
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        (mark,) = seen
        assert isinstance(mark, ProcessRecord)
        found = made.registry.records["my-bot"].process
        assert found is not None
        assert mark == ProcessRecord(token_sha256=found.token_sha256, release=1, port=found.port)
        assert (found.pid, found.state) == (made.fleet.get("my-bot").pid, "running")


async def test_a_record_without_a_committed_release_is_cleared_away(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    async with house(config) as made:
        await made.deploy("my-bot")
    # What a server leaves that is killed between placing and committing.
    for name in ("version.json", "current"):
        (made.facilities.formations_dir / "my-bot" / name).unlink()
    async with house(config) as made:
        for operation in await made.fleet.restore():
            await operation.wait()
        assert made.fleet.list() == []
        assert made.registry.records == {}
        assert made.files() == {"formations", "formations/.tmp", "logs"}


async def test_a_port_that_a_stranger_took_meanwhile_is_exchanged(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    async with house(config) as made:
        await made.deploy("my-bot")
        port = made.fleet.get("my-bot").port
    assert port is not None
    stranger = trio.socket.socket()
    with stranger:
        stranger.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
        await stranger.bind(("127.0.0.1", port))
        stranger.listen()
        async with house(config) as made:
            for operation in await made.fleet.restore():
                await operation.wait()
            view = made.fleet.get("my-bot")
            assert view.status == "running"
            assert view.port != port


async def test_the_number_of_formations_is_limited(tmp_path: Path) -> None:
    async with house(configuration(tmp_path, max_formations=1)) as made:
        await made.deploy("my-bot")
        upload = await made.upload(bundle("one-more"))
        with pytest.raises(OperatorError, match="max_formations"):
            made.fleet.deploy(upload, "one-more", None)
        await upload.discard()


async def test_stop_does_not_wait_for_a_start_that_hangs(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        await made.fleet.stop("my-bot").wait()
        app = made.facilities.formations_dir / "my-bot" / "current" / "app.py"
        app.write_text(FOREVER)
        starting = made.fleet.start("my-bot")
        await made.until("my-bot", "starting")
        await made.fleet.stop("my-bot").wait()
        with pytest.raises(Conflict):
            await starting.wait()
        assert made.fleet.get("my-bot").status == "stopped"


async def test_why_output_is_not_kept_is_the_reason_of_a_formation_without_another(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        made.log_problems["my-bot"] = "the disk is full"
        assert made.fleet.get("my-bot").reason == "the disk is full"
        made.log_problems.clear()
        assert made.fleet.get("my-bot").reason is None


async def test_a_deletion_is_told_to_those_who_wait_and_a_stop_is_none(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        deletion = made.fleet.deletion("my-bot")
        await made.fleet.stop("my-bot").wait()
        await made.fleet.start("my-bot").wait()
        assert not deletion.is_set()
        await made.fleet.delete("my-bot").wait()
        with trio.fail_after(30):
            await deletion.wait()
        await made.deploy("my-bot")
        deletion = made.fleet.deletion("my-bot")
    assert not deletion.is_set()  # the end of the server is none, either


async def test_nobody_is_served_before_the_release_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server killed right before the commit undoes the deploy, and whatever a client had been told."""
    seen: list[object] = []
    commit = Releases.commit

    def look_and_commit(self: Releases, *how: Any) -> None:
        route = made.routes.live[b"my-bot"]
        seen.append((route.state, route.target, route.returning))
        commit(self, *how)

    monkeypatch.setattr(Releases, "commit", look_and_commit)
    async with house(configuration(tmp_path)) as made:
        await made.deploy("my-bot")
        assert seen == [("running", None, True)]
        assert made.routes.live[b"my-bot"].target is not None
