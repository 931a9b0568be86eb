"""The code runner as a process: a stand-in for it, kept by the same means as a formation."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest
import trio

from muxi.images.names import architecture
from muxi.process.lifecycle import State
from muxi.rce.record import RecordFile, load_record
from muxi.rce.settings import RceSettings
from muxi.registry.ports import PortPool
from muxi.registry.records import ProcessRecord
from muxi.runtime.catalogue import Runtimes
from muxi.runtime.native import Native
from muxi.runtime.pin import Pin
from muxi.runtime.runtime import Presence
from muxi.server.sidecar import make_sidecar
from tests.formation.test_fleet import House, configuration
from tests.live import free_ports
from tests.process.conftest import alive
from tests.runtime.apptainer_stage import install_engine
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from muxi.config.model import Config
    from muxi.rce.sidecar import Sidecar
    from muxi.runtime.program import Program
    from muxi.runtime.runtime import Prepared, Request, Runtime

RUNNER = str(Path(__file__).parent / "runner.py")
SOURCE = Path(RUNNER).read_text("utf-8")
HERE = Path(sys.executable).parent
"""A path without any engine."""
TOKEN = "rce_CANARY0123456789"
COMMAND = ("/usr/bin/env", "RCE_TEST_HOST=127.0.0.1", sys.executable, RUNNER)


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Config]:
    """A configuration that asks for the stand-in; what runs at the end of the test, is killed."""
    plain = configuration(tmp_path)
    rce = replace(plain.rce, port=free_ports(60)[0], auth_token=TOKEN, command=COMMAND)
    made = replace(plain, rce=rce)
    yield made
    record = load_record(made.paths.data_dir / "rce.json").record
    if record is not None and record.process.pid and alive(record.process.pid):
        os.kill(record.process.pid, signal.SIGKILL)


@asynccontextmanager
async def served(
    config: Config, *, engine: Runtime | None = None, path: Path | None = None
) -> AsyncIterator[Sidecar]:
    """Run a code runner as the server does; at the end its task is cancelled.

    `engine` is a runtime for containers in place of the server's, `path` where programs are looked up.
    """
    facilities = House(config).facilities
    if engine is not None:
        native = Native(facilities.search_path, facilities.environments)
        facilities.runtimes = Runtimes((native, engine))
    if path is not None:
        facilities.search_path = str(path)
    sidecar = make_sidecar(facilities, load_record(config.paths.data_dir / "rce.json"))
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(sidecar.run)
            yield sidecar
            nursery.cancel_scope.cancel()


class Absent:
    """A container engine that is not there."""

    name = "docker"

    async def presence(self) -> Presence:
        return Presence(self.name, available=False, problem="it does not answer")

    def check(self, program: Program, release_dir: Path) -> None:
        raise NotImplementedError

    async def prepare(self, request: Request) -> Prepared:
        raise NotImplementedError


class Slow(Absent):
    """A container engine that never has its image."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.cancelled = 0

    async def presence(self) -> Presence:
        return Presence(self.name, available=True)

    async def prepare(self, request: Request) -> Prepared:
        self.asked.append(request)
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled += 1
        raise AssertionError


async def running(sidecar: Sidecar, *, but: object = None) -> int:
    """Wait until it runs, as another process than that one, and return its pid."""
    await until(lambda: sidecar.status()["state"] == "running" and sidecar.status()["pid"] not in {0, but})
    pid = sidecar.status()["pid"]
    assert isinstance(pid, int)
    return pid


async def run_code(sidecar: Sidecar, code: str, token: str = TOKEN) -> httpx.Response:
    url = sidecar.variables("native")["MUXI_RCE_URL"]
    async with httpx.AsyncClient(verify=False, trust_env=False) as client:
        return await client.post(f"{url}/run", content=code, headers={"Authorization": f"Bearer {token}"})


def arguments(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def settings(config: Config, **changes: object) -> RceSettings:
    return RceSettings.of(replace(config, rce=replace(config.rce, **changes)))  # type: ignore[arg-type]


async def test_it_runs_with_its_settings_and_answers_who_has_the_token(config: Config) -> None:
    async with served(config) as sidecar:
        pid = await running(sidecar)
        assert sidecar.variables("native") == {
            "MUXI_RCE_URL": f"http://127.0.0.1:{config.rce.port}",
            "MUXI_RCE_TOKEN": TOKEN,
        }
        assert (await run_code(sidecar, "print(1)")).json() == {"stdout": "print(1)", "exit_code": 0}
        assert (await run_code(sidecar, "print(1)", token="wrong")).status_code == 401
        status = sidecar.status()
        assert status["healthy"] is True
        assert status["runs"] == "program /usr/bin/env"
        assert (status["restart_count"], status["exposed_on"], status["reason"]) == (0, [], None)
        cache = config.paths.data_dir / "rce" / "cache"
        assert (cache / "ran").read_text() == "print(1)"
        assert cache.stat().st_mode & 0o077 == 0
        log = config.formations.logs_dir / "muxi-rce-out.log"
        await until(lambda: "/health" in log.read_text())
    assert not alive(pid), "cancelling its task ends it"


async def test_the_token_is_in_no_argument_no_file_and_no_status(config: Config) -> None:
    async with served(config) as sidecar:
        pid = await running(sidecar)
        await until((config.paths.data_dir / "rce.json").exists)
        assert TOKEN.encode() not in arguments(pid)
        assert TOKEN not in json.dumps(sidecar.status())
        kept = [path.read_bytes() for path in config.paths.data_dir.rglob("*") if path.is_file()]
        assert kept
        assert not any(TOKEN.encode() in content for content in kept)
        assert (config.paths.data_dir / "rce.json").stat().st_mode & 0o077 == 0


async def test_without_a_token_there_is_none(config: Config) -> None:
    async with served(replace(config, rce=replace(config.rce, auth_token=""))) as sidecar:
        assert sidecar.status() == {"state": "off", "reason": "rce.auth_token is not set"}
        assert sidecar.variables("native") == {}
    assert not (config.paths.data_dir / "rce.json").exists()


async def test_one_that_dies_is_started_again(config: Config) -> None:
    async with served(config) as sidecar:
        pid = await running(sidecar)
        os.kill(pid, signal.SIGKILL)
        assert await running(sidecar, but=pid) != pid
        assert sidecar.status()["restart_count"] == 1


async def test_what_it_lacks_is_told_and_formations_are_told_of_none(config: Config) -> None:
    asked = replace(config, rce=replace(config.rce, command=()))
    async with served(asked, engine=Absent(), path=HERE) as sidecar:
        assert sidecar.variables("native") == {}
        assert sidecar.status()["state"] == "unavailable"
        assert "Containers: it does not answer." in str(sidecar.status()["reason"])
        assert "Install Apptainer or Docker" in str(sidecar.status()["reason"])


async def test_a_program_that_is_not_there_is_told(config: Config) -> None:
    async with served(replace(config, rce=replace(config.rce, command=("no-such-runner",)))) as sidecar:
        await until(lambda: sidecar.status()["state"] == "unavailable")
        assert "no-such-runner" in str(sidecar.status()["reason"])
        assert sidecar.variables("native") == {}


async def test_other_settings_are_another_process(config: Config) -> None:
    async with served(config) as sidecar:
        before = await running(sidecar)
        sidecar.configure(settings(config))
        assert sidecar.status()["pid"] == before, "the same settings change nothing"
        sidecar.configure(settings(config, auth_token="another"))
        after = await running(sidecar, but=before)
        assert not alive(before)
        assert alive(after)
        assert sidecar.variables("native")["MUXI_RCE_TOKEN"] == "another"
        assert (await run_code(sidecar, "1", token="another")).status_code == 200
        sidecar.configure(settings(config, auth_token=""))
        await until(lambda: not alive(after))
        assert sidecar.variables("native") == {}
        await until(lambda: sidecar.status()["state"] == "off")


async def test_a_port_that_a_stranger_has_is_passed_over(config: Config) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", config.rce.port))
        stranger.listen()
        async with served(config) as sidecar:
            await running(sidecar)
            assert sidecar.variables("native")["MUXI_RCE_URL"] == f"http://127.0.0.1:{config.rce.port + 1}"
            assert (await run_code(sidecar, "1")).status_code == 200


async def test_a_port_of_the_formations_range_is_held_for_it(config: Config) -> None:
    start, end = config.rce.port, config.rce.port + 5
    config = replace(config, formations=replace(config.formations, port_range=(start, end)))
    facilities = House(config).facilities
    assert isinstance(facilities.ports, PortPool)
    facilities.ports.reserve("a-bot", start, in_use=True)
    sidecar = make_sidecar(facilities, RecordFile(config.paths.data_dir / "rce.json"))
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(sidecar.run)
            await running(sidecar)
            assert facilities.ports.get("muxi-rce") == start + 1
            assert facilities.ports.allocate("b-bot") == start + 2
            nursery.cancel_scope.cancel()


async def test_one_that_others_can_reach_is_told(config: Config) -> None:
    open_to_all = replace(config, rce=replace(config.rce, command=(sys.executable, RUNNER)))
    async with served(open_to_all) as sidecar:
        await running(sidecar)
        await until(lambda: bool(sidecar.status()["exposed_on"]))
        assert sidecar.status()["exposed_on"] == ["0.0.0.0"]
        assert "firewall" in str(sidecar.status()["reason"])


async def test_one_that_is_let_go_runs_on_and_is_adopted_by_the_next_server(config: Config) -> None:
    async with served(config) as sidecar:
        before = await running(sidecar)
        await sidecar.detach()
    assert alive(before)
    async with served(config) as sidecar:
        await until(lambda: sidecar.status()["state"] == "running")
        assert sidecar.status()["pid"] == before
        assert (await run_code(sidecar, "2")).json()["stdout"] == "2"
        os.kill(before, signal.SIGKILL)
        after = await running(sidecar, but=before)
        await sidecar.shut_down()
    assert not alive(after)
    assert load_record(config.paths.data_dir / "rce.json").record is None


@pytest.mark.parametrize("change", [{"auth_token": "another"}, {"auth_token": ""}, {"command": ()}])
async def test_what_is_not_asked_for_any_more_is_ended_by_the_next_server(
    config: Config, change: dict[str, object]
) -> None:
    async with served(config) as sidecar:
        before = await running(sidecar)
        await sidecar.detach()
    assert alive(before)
    async with served(replace(config, rce=replace(config.rce, **change)), engine=Absent(), path=HERE):  # type: ignore[arg-type]
        await until(lambda: not alive(before))


async def test_one_of_which_only_the_mark_was_written_is_ended_by_the_next_server(config: Config) -> None:
    """The server before was killed between starting it and writing down which process it is."""
    async with served(config) as sidecar:
        before = await running(sidecar)
        await sidecar.detach()
    path = config.paths.data_dir / "rce.json"
    record = load_record(path).record
    assert record is not None
    mark = ProcessRecord(token_sha256=record.process.token_sha256, port=record.process.port)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(record, process=mark)))
    async with served(config) as sidecar:
        after = await running(sidecar, but=before)
        assert not alive(before)
        assert alive(after)


async def test_a_damaged_record_is_no_reason_not_to_start(config: Config) -> None:
    (config.paths.data_dir / "formations").mkdir(parents=True, exist_ok=True)
    (config.paths.data_dir / "rce.json").write_text("{")
    async with served(config) as sidecar:
        await running(sidecar)


async def test_a_long_download_keeps_nobody_waiting_and_ends_with_other_settings(config: Config) -> None:
    engine = Slow()
    asked = replace(config, rce=replace(config.rce, command=(), image="skills:2"))
    async with served(asked, engine=engine) as sidecar:
        await until(lambda: bool(engine.asked))
        assert (engine.asked[0].program.kind, engine.asked[0].program.image) == ("image", "skills:2")
        assert sidecar.status()["state"] == "preparing"
        assert sidecar.variables("docker")["MUXI_RCE_URL"] == f"http://host.docker.internal:{asked.rce.port}"
        sidecar.configure(settings(config))
        await running(sidecar)
        assert engine.cancelled == 1


async def test_an_image_file_is_run_by_apptainer_with_the_token_in_no_argument(
    config: Config, tmp_path: Path
) -> None:
    install_engine(tmp_path / "bin")
    home = config.paths.data_dir / "rce"
    home.mkdir(parents=True)
    seen = tmp_path / "seen.json"
    for version in ("0.2.9", "0.2.10"):
        image = home / f"skills-rce-{version}-linux-{architecture()}.sif"
        image.write_text(json.dumps({"app": SOURCE, "seen": str(seen)}))
    asked = replace(config, rce=replace(config.rce, command=()))
    async with served(asked, path=tmp_path / "bin") as sidecar:
        pid = await running(sidecar)
        assert "skills-rce-0.2.10-linux-" in str(sidecar.status()["runs"])
        assert (await run_code(sidecar, "3")).json()["stdout"] == "3"
        assert (home / "cache" / "ran").read_text() == "3"
        assert TOKEN not in str(json.loads(seen.read_text())["argv"])
        await sidecar.detach()
    async with served(asked, path=tmp_path / "bin") as sidecar:
        assert await running(sidecar) == pid
        await sidecar.shut_down()
    assert not alive(pid)


async def test_what_it_was_found_to_run_on_is_kept_for_the_next_server(config: Config) -> None:
    async with served(config) as sidecar:
        await running(sidecar)
        await sidecar.detach()
        record = load_record(config.paths.data_dir / "rce.json").record
        assert record is not None
        assert record.pin is not None
        assert (record.pin, record.process.state) == (
            Pin(runtime="native", reason=record.pin.reason),
            State.RUNNING,
        )
