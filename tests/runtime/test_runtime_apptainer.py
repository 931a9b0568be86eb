"""The runtime with a stand-in for the engine: prepared, started, told to end, adopted; nothing is left."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import httpx
import pytest
import trio

from muxi.config.download import DownloadConfig
from muxi.config.runtime import RuntimeConfig
from muxi.download.downloader import Downloader
from muxi.errors import OperatorError, RequestError
from muxi.formation.manifest import Manifest
from muxi.images.mirror import Mirror
from muxi.images.store import ImageStore
from muxi.process import procfs, tree
from muxi.process.adopted import adopt
from muxi.process.health import HealthCheck
from muxi.process.spawn import spawn
from muxi.process.usage import Root, Walk
from muxi.runtime.apptainer import Apptainer, Places
from muxi.runtime.host_tools import HostTools
from muxi.runtime.pin import Pin
from muxi.runtime.runtime import Request, Surroundings
from tests.runtime.apptainer_stage import install_engine, make_image

if TYPE_CHECKING:
    from muxi.process.handle import Handle
    from muxi.process.spec import ProcessSpec


@dataclass
class Stage:
    """A server's directories, a formation in them, and the runtime."""

    directory: Path
    settings: RuntimeConfig = field(default_factory=lambda: RuntimeConfig(auto_download=False))
    with_tools: bool = False

    def __post_init__(self) -> None:
        self.release.mkdir(parents=True)
        self.state.mkdir()
        (self.release / "memory.db").symlink_to(Path("..", "..", "state", "memory.db"))
        downloader = Downloader(DownloadConfig)
        mirror = Mirror(downloader, lambda: self.settings.sif_base_url)
        self.images = ImageStore(self.directory / "runtimes", mirror, downloader, lambda: self.settings)
        self.runtime = Apptainer(
            self.images,
            HostTools(self.directory / "tools", "/nowhere"),
            Places(home=self.directory / "apptainer", cache=self.directory / "cache"),
            str(self.directory / "bin"),
            with_tools=lambda: self.with_tools,
        )

    @property
    def release(self) -> Path:
        return self.directory / "hello" / "releases" / "1"

    @property
    def state(self) -> Path:
        return self.directory / "hello" / "state"

    @property
    def seen(self) -> dict[str, object]:
        """What the engine was started with last."""
        return cast("dict[str, object]", json.loads((self.directory / "seen").read_text()))

    def add_image(self, version: str = "1.2.3", variant: str = "") -> Path:
        return make_image(self.directory / "runtimes", self.directory / "seen", version, variant)

    def request(self, muxi_runtime: str = "1.2", pin: Pin | None = None, **more: object) -> Request:
        manifest = Manifest(
            **{"file_name": "formation.afs", "id": "hello", "kind": "muxi", "name": "x", **more},  # type: ignore[arg-type]
            muxi_runtime=muxi_runtime,
        )
        return Request(program=manifest, release_dir=self.release, state_dir=self.state, pin=pin)

    def around(self, port: int) -> Surroundings:
        return Surroundings(
            process_id="hello",
            host="127.0.0.1",
            port=port,
            server_url="http://localhost:7890",
            stdout=self.directory / "out.log",
            stderr=self.directory / "err.log",
            defaults=HealthCheck(),
            stop_timeout=5.0,
            search_path=os.defpath,
        )

    async def start(self, port: int, manifest: str = "", **more: object) -> tuple[Handle, ProcessSpec]:
        """Start one, and wait until it answers."""
        (self.release / "formation.afs").write_text(manifest)
        prepared = await self.runtime.prepare(self.request(**more))  # type: ignore[arg-type]
        spec = prepared.spec(self.around(port))
        handle = await spawn(spec)
        with trio.fail_after(30):
            while not await answers(port):
                assert procfs.is_alive(handle.pid), (self.directory / "err.log").read_text()
                await trio.sleep(0.01)
        return handle, spec


async def answers(port: int) -> bool:
    try:
        await get(port, "/")
    except httpx.TransportError:
        return False
    return True


async def get(port: int, path: str) -> object:
    async with httpx.AsyncClient(trust_env=False) as client:
        found: object = (await client.get(f"http://127.0.0.1:{port}{path}")).json()
        return found


@pytest.fixture
def port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    made = Stage(tmp_path)
    install_engine(tmp_path / "bin")
    made.add_image()
    return made


async def test_presence(stage: Stage, tmp_path: Path) -> None:
    found = await stage.runtime.presence()
    assert (found.available, found.version) == (True, "1.3.4")
    assert found.detail == str(tmp_path / "bin" / "apptainer")


async def test_singularity_will_do_where_there_is_no_apptainer(tmp_path: Path) -> None:
    install_engine(tmp_path / "bin", "singularity", "singularity-ce version 4.1.0")
    found = await Stage(tmp_path).runtime.presence()
    assert (found.available, found.version) == (True, "4.1.0")


async def test_where_there_is_neither_it_says_so_with_a_cure(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    found = await stage.runtime.presence()
    assert (found.available, found.problem) == (False, "neither apptainer nor singularity is installed")
    assert "Apptainer" in found.cure
    with pytest.raises(OperatorError, match="neither apptainer nor singularity") as caught:
        await stage.runtime.prepare(stage.request())
    assert (caught.value.code, caught.value.status) == ("RuntimeUnavailable", 503)


async def test_it_is_seen_when_an_engine_is_installed_later(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert not (await stage.runtime.presence()).available
    install_engine(tmp_path / "bin")
    assert (await stage.runtime.presence()).available


async def test_what_is_resolved_is_exact_and_kept_with_its_checksum(stage: Stage) -> None:
    newest = stage.add_image("1.2.10")
    prepared = await stage.runtime.prepare(stage.request("1.2"))
    assert (prepared.pin.runtime, prepared.pin.version) == ("apptainer", "1.2.10")
    assert prepared.pin.artifact == f"sha256:{hashlib.sha256(newest.read_bytes()).hexdigest()}"
    assert prepared.description == "MUXI runtime 1.2.10 on apptainer 1.3.4"


async def test_a_restart_runs_on_the_same_image_though_there_is_a_newer_one(stage: Stage) -> None:
    pin = (await stage.runtime.prepare(stage.request("latest"))).pin
    stage.add_image("9.0.0")
    again = await stage.runtime.prepare(stage.request("latest", pin))
    assert again.pin == pin
    assert any("1.2.3" in word for word in again.spec(stage.around(8001)).argv)


async def test_an_image_that_is_not_the_one_it_ran_on_is_refused(stage: Stage) -> None:
    pin = Pin(runtime="apptainer", version="1.2.3", artifact=f"sha256:{'0' * 64}")
    with pytest.raises(OperatorError) as caught:
        await stage.runtime.prepare(stage.request(pin=pin))
    assert caught.value.code == "ChecksumMismatch"


@pytest.mark.parametrize("wanted", ["1.2:huge", "one"])
def test_a_malformed_version_is_refused_before_anything_is_fetched(stage: Stage, wanted: str) -> None:
    with pytest.raises(RequestError) as caught:
        stage.runtime.check(stage.request(wanted).program, stage.release)
    assert caught.value.code == "InvalidRuntime"


async def test_the_gpu_variant(stage: Stage) -> None:
    stage.add_image("1.2.3", "cuda")
    prepared = await stage.runtime.prepare(stage.request("1.2:cuda"))
    assert prepared.pin.version == "1.2.3:cuda"
    assert "--nv" in prepared.spec(stage.around(8001)).argv


async def test_what_it_is_started_with(stage: Stage, port: int) -> None:
    (stage.directory / "cache" / "models--nomic").mkdir(parents=True)
    handle, spec = await stage.start(port, env={"API_KEY": "canary $(touch /tmp/x)"})
    env = cast("dict[str, str]", await get(port, "/env"))
    assert env["API_KEY"] == "canary $(touch /tmp/x)"
    assert (env["HOME"], env["HF_HOME"], env["PORT"]) == ("/state", "/opt/hf-cache", str(port))
    assert "canary" not in str(stage.seen["argv"]) + repr(spec)
    assert str(stage.directory / "cache" / "models--nomic") in str(stage.seen["argv"])
    assert f"source={stage.directory / 'cache'}," not in str(stage.seen["argv"])
    assert {"--containall", "--cleanenv", "--pid", "--no-home", "--no-privs"} <= set(spec.argv)
    assert (stage.release / ".key").exists()
    with trio.fail_after(30):
        await handle.end(expected=True)


async def test_all_of_it_is_known_as_ours_and_ends_when_asked_to(stage: Stage, port: int) -> None:
    handle, spec = await stage.start(port)
    assert handle.identity is not None
    assert await handle.listens("127.0.0.1", port) is True
    # The engine has cleared the environment, and still the program has the token.
    inside = cast("int", await get(port, "/pid"))
    assert procfs.token_sha256(inside) == handle.identity.token_sha256
    family = tree.living(handle.pid, handle.identity.token_sha256)
    assert len(family) == 3
    assert Walk().measure([Root(handle.pid, handle.identity.token_sha256)], 0.0)[handle.pid].processes == 3
    with trio.fail_after(30):
        await handle.ask_to_end()
        report = await handle.end(expected=True)
    assert report.clean
    assert not any(procfs.is_alive(pid) for pid in family)
    assert spec.scratch is not None
    assert not spec.scratch.exists()


@pytest.mark.parametrize("manifest", ["stubborn", "leaves-children", "stubborn leaves-children"])
async def test_what_does_not_want_to_end_is_killed_to_the_last(
    stage: Stage, port: int, manifest: str
) -> None:
    handle, _ = await stage.start(port, manifest)
    assert handle.identity is not None
    family = tree.living(handle.pid, handle.identity.token_sha256)
    assert len(family) == 3 + ("leaves-children" in manifest)
    with trio.move_on_after(0.2):
        await handle.ask_to_end()
    with trio.fail_after(30):
        await handle.end(expected=True)
    assert not any(procfs.is_alive(pid) for pid in family)


@pytest.mark.parametrize("status", [0, 3])
async def test_its_exit_status_is_kept(stage: Stage, port: int, status: int) -> None:
    handle, _ = await stage.start(port)
    with pytest.raises(httpx.TransportError):
        await get(port, f"/die?{status}")
    with trio.fail_after(30):
        await handle.wait()
        assert (await handle.end(expected=False)).status == status


async def test_when_the_engine_is_killed_nothing_of_it_stays(stage: Stage, port: int) -> None:
    handle, _ = await stage.start(port)
    inside = cast("int", await get(port, "/pid"))
    os.kill(handle.pid, signal.SIGKILL)
    with trio.fail_after(30):
        await handle.wait()
        report = await handle.end(expected=False)
    assert report.signal_number == signal.SIGKILL
    assert not procfs.is_alive(inside)


async def test_a_later_server_goes_on_with_it(stage: Stage, port: int) -> None:
    handle, spec = await stage.start(port)
    assert handle.identity is not None
    handle.let_go()
    later = adopt(handle.identity, handle.started_at, spec)
    assert later is not None
    assert await later.listens("127.0.0.1", port) is True
    with trio.fail_after(30):
        await later.ask_to_end()
        await later.end(expected=True)
    assert not await answers(port)
