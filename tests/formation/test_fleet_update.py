"""Updates and rollbacks of real processes: what serves, what is on disk, what is told."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from muxi.errors import Conflict, FormationFailed, MuxiError, NotFound, RequestError, StorageError
from muxi.formation.wishes import RollbackWish, UpdateWish
from muxi.registry import store
from tests.formation.test_fleet import CRASHING, FOREVER, House, alive, configuration, house
from tests.live import bundle
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from muxi.formation.operation import Operation

ID = "my-bot"
SAYS = """
import http.server, os, pathlib
WORD = {word!r}
pathlib.Path("memory.db").open("a").write(WORD)

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = WORD.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def says(word: str, formation_id: str = ID, **fields: object) -> bytes:
    version = fields.pop("version", f"{word}.0.0")
    return bundle(formation_id, {"app.py": SAYS.format(word=word)}, version=version, **fields)


async def update(made: House, content: bytes, **wishes: Any) -> Operation:
    return made.fleet.update(await made.upload(content), ID, UpdateWish(**wishes))


async def updated(made: House, content: bytes, **wishes: Any) -> dict[str, Any]:
    return dict(await (await update(made, content, **wishes)).wait())


async def word(made: House) -> str:
    """Return what the process behind the route says."""
    target = made.routes.live[ID.encode()].target
    assert target is not None
    url = f"http://127.0.0.1:{target.port}/"
    read = partial(urllib.request.urlopen, url, timeout=30)
    with await trio.to_thread.run_sync(read) as answer:
        return str(answer.read(), "utf-8")


def snapshot(made: House) -> dict[str, bytes | str | None]:
    """Return everything on disk below the data directory but what is of the moment."""
    data = made.config.paths.data_dir
    found: dict[str, bytes | str | None] = {}
    for path in sorted(data.rglob("*")):
        name = str(path.relative_to(data))
        if "registry.json" in name or name.startswith(("logs/", "formations/my-bot/state/memory.db")):
            continue
        if path.is_symlink():
            found[name] = str(path.readlink())
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def record(made: House) -> dict[str, Any]:
    saved = store.load(made.registry.path).records[ID]
    return {
        name: getattr(saved, name) for name in ("semantic", "bundle_hash", "deployed_at", "stopped", "other")
    }


def stages(operation: Operation) -> list[str]:
    return list(dict.fromkeys(str(e.data["stage"]) for e in operation.events if e.name == "progress"))


async def test_an_update_switches_to_the_new_release_and_keeps_the_data(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy(ID, says("1"))
        before = made.fleet.get(ID)
        operation = await update(made, says("2"), version="2.0.0")
        result = await operation.wait()
        view = made.fleet.get(ID)
        assert await word(made) == "2"
        assert (view.status, view.healthy, view.restart_count) == ("running", True, 0)
        assert view.version is not None
        assert view.version.semantic == "2.0.0"
        assert view.port == result["port"] != before.port
        assert result["pid"] == view.pid != before.pid
        assert not alive(before.pid)
        names = ("previous_version", "current_version", "new_version", "version", "release")
        assert [result[name] for name in names] == ["1", "2", "2", "2.0.0", 2]
        assert result["deployment_type"] == "blue-green"
        home = made.facilities.formations_dir / ID
        assert (home / "current").readlink().name == "2"
        assert (home / "previous").readlink().name == "1"
        assert (home / "current" / "memory.db").read_text() == "12"
        assert made.ports.allocated == 1
        assert record(made)["semantic"] == "2.0.0"
        assert record(made)["other"] is None
        assert list(made.facilities.workspace.iterdir()) == []
        assert stages(operation) == [
            "extracting",
            "validating",
            "resolving_runtime",
            "spawning_staging",
            "health_check",
            "swapping",
            "stopping_old",
        ]
        (staging,) = [e.data["staging_port"] for e in operation.events if "staging_port" in e.data]
        assert staging == view.port


async def test_a_rollback_goes_back_and_once_more_goes_forward(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy(ID, says("1"))
        await updated(made, says("2"))
        result = await made.fleet.rollback(ID, RollbackWish()).wait()
        assert await word(made) == "1"
        assert (result["previous_version"], result["current_version"]) == ("2", "1")
        assert record(made)["semantic"] == "1.0.0"
        await made.fleet.rollback(ID, RollbackWish()).wait()
        assert await word(made) == "2"
        home = made.facilities.formations_dir / ID
        assert (home / "current").readlink().name == "2"
        assert (home / "current" / "memory.db").read_text() == "1212"
        assert made.ports.allocated == 1


@pytest.mark.parametrize(("named", "expected"), [(1, "1"), ("1.0.0", "1"), ("2", "2"), (2, "2"), (None, "2")])
async def test_a_rollback_to_a_named_release(tmp_path: Path, named: int | str | None, expected: str) -> None:
    async with house(configuration(tmp_path, keep_backups=5)) as made:
        await made.deploy(ID, says("1"))
        await updated(made, says("2"))
        await updated(made, says("3"))
        await made.fleet.rollback(ID, RollbackWish(named)).wait()
        assert await word(made) == expected


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        (RollbackWish(), "NoPreviousVersion"),
        (RollbackWish(7), "ReleaseNotFound"),
        (RollbackWish("9.9.9"), "ReleaseNotFound"),
        (RollbackWish(1), "ReleaseNotFound"),
    ],
)
async def test_a_rollback_to_nowhere_changes_nothing(tmp_path: Path, wish: RollbackWish, code: str) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy(ID, says("1"))
        before, view = snapshot(made), made.fleet.get(ID)
        with pytest.raises(RequestError) as raised:
            await made.fleet.rollback(ID, wish).wait()
        assert (raised.value.code, raised.value.details["rollback_status"]) == (code, "not_needed")
        assert snapshot(made) == before
        assert made.fleet.get(ID).pid == view.pid


FAILURES: dict[str, tuple[bytes, dict[str, Any], str, str]] = {
    "not a bundle": (b"nothing", {}, "ExtractError", "extracting"),
    "another id": (says("2", "other-bot"), {}, "IDMismatch", "validating"),
    "another version": (says("2"), {"version": "3.0.0"}, "VersionMismatch", "validating"),
    "no secrets": (says("2", note="${{ secrets.KEY }}"), {}, "SecretsError", "validating"),
    "the same": (says("1"), {}, "NoChange", "validating"),
    "no program": (says("2", command=["no-such-program"]), {}, "SpawnError", "spawning"),
    "crashes": (bundle(ID, {"app.py": CRASHING}), {}, "HealthCheckFailed", "health_check"),
    "never healthy": (
        bundle(ID, {"app.py": FOREVER}, health={"startup_timeout": 1}),
        {},
        "HealthCheckFailed",
        "health_check",
    ),
    "a directory for the state": (
        bundle(ID, {"app.py": CRASHING, "memory.db/x": "y"}),
        {},
        "ExtractError",
        "validating",
    ),
}


@pytest.mark.parametrize("strategy", ["blue-green", "recreate"])
@pytest.mark.parametrize("name", FAILURES)
async def test_a_failed_update_leaves_everything_as_it_was(tmp_path: Path, name: str, strategy: str) -> None:
    content, wishes, code, stage = FAILURES[name]
    async with house(configuration(tmp_path)) as made:
        await made.deploy(ID, says("1"))
        before, saved, view = snapshot(made), record(made), made.fleet.get(ID)
        with pytest.raises(MuxiError) as raised:
            await updated(made, content, strategy=strategy, **wishes)
        error = raised.value
        assert (error.code, error.stage) == (code, stage)
        assert error.cure
        went_down = strategy == "recreate" and stage == "health_check"
        assert error.details["rollback_status"] == ("success" if went_down else "not_needed")
        assert snapshot(made) == before
        assert record(made) == saved
        now = made.fleet.get(ID)
        assert (now.status, now.port, now.version) == ("running", view.port, view.version)
        assert (now.pid == view.pid) is not went_down
        assert await word(made) == "1"
        assert made.ports.allocated == 1


async def test_a_failure_explains_itself(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy(ID, says("1"))
        operation = await update(made, bundle(ID, {"app.py": CRASHING}))
        with pytest.raises(FormationFailed):
            await operation.wait()
        data = operation.events[-1].data
        details: Any = data["details"]
        assert str(data["message"]).startswith("Formation crashed during startup: exit status 1")
        assert "still the current one" in str(data["cure"])
        assert data["rollback_status"] == "not_needed"
        assert details["exit"]["status"] == 1
        assert "stdout: about to fail" in details["log_tail"]
        assert "stderr: the reason" in details["log_tail"]
        assert json.dumps(data)


async def test_the_same_again_when_it_is_forced(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy(ID, says("1"))
        with pytest.raises(Conflict) as raised:
            await updated(made, says("1"))
        assert (raised.value.status, raised.value.code) == (409, "NoChange")
        assert (await updated(made, says("1"), force=True))["release"] == 2


async def test_recreate_holds_requests_and_overlaps_nothing(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy(ID, says("1"))
        port = made.fleet.get(ID).port
        operation = await update(made, says("2", strategy="recreate"))
        route = made.routes.live[ID.encode()]
        await until(lambda: operation.stage == "stopping_old" or operation.ended)
        await until(lambda: route.target is None or operation.ended)
        assert route.returning or operation.ended
        result = await operation.wait()
        assert (result["deployment_type"], result["port"]) == ("recreate", port)
        assert await word(made) == "2"
        assert "spawning_staging" not in stages(operation)


async def test_an_update_of_a_stopped_formation_starts_it_and_a_failed_one_does_not(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy(ID, says("1"))
        await made.fleet.stop(ID).wait()
        before = snapshot(made)
        with pytest.raises(FormationFailed) as raised:
            await updated(made, bundle(ID, {"app.py": CRASHING}))
        assert raised.value.details["rollback_status"] == "not_needed"
        assert made.fleet.get(ID).status == "stopped"
        assert snapshot(made) == before
        await updated(made, says("2"))
        assert made.fleet.get(ID).status == "running"
        assert await word(made) == "2"
        assert record(made)["stopped"] is False


@pytest.mark.parametrize(
    ("setting", "strategy", "outcome"),
    [
        ("refuse", None, "NotEnoughMemory"),
        ("recreate", None, "recreate"),
        ("ignore", None, "blue-green"),
        ("refuse", "recreate", "recreate"),
    ],
)
async def test_two_releases_that_do_not_fit_into_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, strategy: str | None, outcome: str
) -> None:
    monkeypatch.setattr("muxi.process.memory.available", lambda: 1000)
    config = configuration(tmp_path)
    deployment = replace(config.formations.deployment, when_memory_short=setting)
    config = replace(config, formations=replace(config.formations, deployment=deployment))
    async with house(config) as made:
        await made.deploy(ID, says("1"))
        before = snapshot(made)
        if outcome == "NotEnoughMemory":
            with pytest.raises(MuxiError, match="Not enough memory") as raised:
                await updated(made, says("2"), strategy=strategy)
            assert (raised.value.code, raised.value.status) == (outcome, 507)
            assert snapshot(made) == before
            assert await word(made) == "1"
        else:
            assert (await updated(made, says("2"), strategy=strategy))["deployment_type"] == outcome


@pytest.mark.parametrize("kind", ["update", "rollback"])
@pytest.mark.parametrize("strategy", ["blue-green", "recreate"])
async def test_a_cancel_undoes_it_and_says_so(tmp_path: Path, kind: str, strategy: Any) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy(ID, says("1"))
        if kind == "rollback":
            await updated(made, says("2"))
            previous = made.facilities.formations_dir / ID / "releases" / "1" / "app.py"
            previous.write_text(FOREVER)
        before, saved = snapshot(made), record(made)
        if kind == "update":
            operation = await update(made, bundle(ID, {"app.py": FOREVER}), strategy=strategy)
        else:
            operation = made.fleet.rollback(ID, RollbackWish(strategy=strategy))
        await until(lambda: any("attempt" in event.data for event in operation.events))
        assert made.fleet.cancel(ID) is operation
        with pytest.raises(Conflict) as raised:
            await operation.wait()
        assert raised.value.code == "Cancelled"
        assert snapshot(made) == before
        assert record(made) == saved
        assert await word(made) == ("1" if kind == "update" else "2")
        assert made.ports.allocated == 1
        assert made.fleet.operation(ID) is operation
        with pytest.raises(RequestError, match="No update in progress"):
            made.fleet.cancel(ID)


async def test_a_cancel_while_the_old_one_is_waited_for_lets_it_go_on(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy(ID, says("1"))
        route, before = made.routes.live[ID.encode()], made.fleet.get(ID)
        old = route.target
        assert old is not None
        old.in_flight = 1
        operation = await update(made, says("2"), strategy="recreate")
        await until(lambda: operation.stage == "draining")
        assert route.target is None
        made.fleet.cancel(ID)
        with pytest.raises(Conflict):
            await operation.wait()
        old.in_flight = 0
        assert made.fleet.get(ID).pid == before.pid
        assert made.fleet.get(ID).status == "running"
        now = made.routes.live[ID.encode()].target
        assert now is not None
        assert not now.draining
        assert await word(made) == "1"


async def test_a_cancel_of_a_deploy_leaves_nothing(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        operation = await made.begin(ID, bundle(ID, {"app.py": FOREVER}))
        await until(lambda: operation.stage == "health_check")
        made.fleet.cancel(ID)
        with pytest.raises(Conflict):
            await operation.wait()
        with pytest.raises(NotFound):
            made.fleet.get(ID)
        assert made.fleet.operation(ID).error is not None
        assert not (made.facilities.formations_dir / ID).exists()
        assert made.ports.allocated == 0


async def test_a_cancel_after_the_switch_comes_too_late(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy(ID, says("1"))
        old = made.routes.live[ID.encode()].target
        assert old is not None
        old.in_flight = 1  # a request that does not end keeps the old one until the budget is spent
        operation = await update(made, says("2"))
        await until(lambda: operation.stage == "draining")
        assert await word(made) == "2"
        with pytest.raises(Conflict) as raised:
            made.fleet.cancel(ID)
        assert raised.value.code == "TooLateToCancel"
        old.in_flight = 0
        old.emptied()
        assert (await operation.wait())["release"] == 2


async def test_one_operation_at_a_time(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy(ID, says("1"))
        operation = await update(made, bundle(ID, {"app.py": FOREVER}))
        await until(lambda: operation.stage == "health_check")
        attempts: tuple[Callable[[], object], ...] = (
            lambda: made.fleet.rollback(ID, RollbackWish()),
            lambda: made.fleet.restart(ID),
            lambda: made.fleet.stop(ID),
            lambda: made.fleet.delete(ID),
        )
        for attempt in attempts:
            with pytest.raises(Conflict) as raised:
                attempt()
            assert raised.value.details["operation_id"] == operation.id
            assert raised.value.details["stage"] == "health_check"
        with pytest.raises(Conflict):
            await update(made, says("2"))
        made.fleet.cancel(ID)
        with pytest.raises(Conflict):
            await operation.wait()
        await updated(made, says("2"))


@pytest.mark.parametrize("kind", ["update", "rollback"])
@pytest.mark.parametrize("strategy", ["blue-green", "recreate"])
async def test_a_commit_that_the_disk_refuses_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, strategy: Any
) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy(ID, says("1"))
        if kind == "rollback":
            await updated(made, says("2"))
        before, saved = snapshot(made), record(made)

        def full(*_arguments: object) -> None:
            raise StorageError("Could not commit the release: No space left on device.")

        with monkeypatch.context() as patch:
            patch.setattr("muxi.formation.releases.Releases.commit", full)
            patch.setattr("muxi.formation.releases.Releases.roll_back", full)
            if kind == "update":
                operation = await update(made, says("3"), strategy=strategy)
            else:
                operation = made.fleet.rollback(ID, RollbackWish(strategy=strategy))
            with pytest.raises(StorageError) as raised:
                await operation.wait()
        expected = "not_needed" if strategy == "blue-green" else "success"
        assert raised.value.details["rollback_status"] == expected
        assert snapshot(made) == before
        assert record(made) == saved
        assert await word(made) == ("1" if kind == "update" else "2")
        assert made.ports.allocated == 1
        # and it is not stuck
        if kind == "update":
            await updated(made, says("3"))
        else:
            await made.fleet.rollback(ID, RollbackWish()).wait()


async def test_the_end_of_the_server_undoes_an_update(tmp_path: Path) -> None:
    async with house(configuration(tmp_path)) as made:
        await made.deploy(ID, says("1"))
        before = snapshot(made)
        operation = await update(made, bundle(ID, {"app.py": FOREVER}))
        await until(lambda: operation.stage == "health_check")
        made.fleet.interrupt()
        await made.fleet.shut_down()
        with pytest.raises(MuxiError) as raised:
            await operation.wait()
        assert raised.value.code == "ShuttingDown"
        assert snapshot(made) == before
