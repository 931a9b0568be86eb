"""Formations as containers: what is prepared, pinned, specified. No engine is asked for what is pinned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muxi.config.engine import EngineConfig
from muxi.config.runtime import RuntimeConfig
from muxi.containers.leftovers import Leftovers
from muxi.containers.placement import ContainerPlacement
from muxi.containers.spec import ContainerSpec, Mount
from muxi.errors import OperatorError, RequestError
from muxi.formation.manifest import Manifest
from muxi.process.health import HealthCheck
from muxi.runtime.container_spec import seen_from_inside
from muxi.runtime.docker import Docker
from muxi.runtime.pin import Pin
from muxi.runtime.runner import Runner, platform_of, runner_arguments
from muxi.runtime.runtime import Request, Surroundings
from tests.containers.standin import StandIn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from muxi.runtime.runtime import Report

DIGEST = f"sha256:{'ab' * 32}"


class Shelf:
    """The runtime's images: one version, which is on the disk."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.asked: list[str | None] = []
        self.ensured: list[tuple[str, str]] = []

    async def resolve(self, wanted: str | None) -> Shelf:
        self.asked.append(wanted)
        return self

    version, variant = "1.2.3", "cuda"

    async def ensure(self, version: str, variant: str, report: Report) -> Path:
        self.ensured.append((version, variant))
        return self.directory / "muxi-runtime-1.2.3-cuda-linux-amd64.sif"


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[StandIn]:
    async with StandIn(tmp_path / "e.sock").serving() as standing_in:
        yield standing_in


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def docker(engine: StandIn, tmp_path: Path, shelf: Shelf | None, **engine_settings: str) -> Docker:
    settings = RuntimeConfig(runtime_runner_image="runner:1", engine=EngineConfig(**engine_settings))
    client = engine.engine
    leftovers = Leftovers(client, "server-1", tmp_path / "containers")
    placement = ContainerPlacement(client, leftovers, lambda: 10.0)
    runner = None if shelf is None else Runner(shelf, tmp_path / "cache", lambda: settings)
    return Docker(client, placement, lambda: settings, runner)


def request(kind: str = "image", pin: Pin | None = None, **fields: object) -> Request:
    facts: dict[str, object] = {"file_name": "formation.afs", "id": "hello", "kind": kind, "name": "Hello"}
    program = Manifest(**facts | fields)  # type: ignore[arg-type] # the names and types match
    return Request(program=program, release_dir=Path("/f/releases/3"), state_dir=Path("/f/state"), pin=pin)


AROUND = Surroundings(
    process_id="hello",
    host="0.0.0.0",
    port=8001,
    server_url="http://localhost:7890",
    stdout=Path("/logs/o"),
    stderr=Path("/logs/e"),
    defaults=HealthCheck(),
    stop_timeout=5.0,
    search_path="/bin",
    extra_env={"MUXI_RCE_URL": "http://127.0.0.1:7891"},
)


@pytest.mark.parametrize(
    ("url", "inside"),
    [
        ("http://localhost:7890", "http://host.docker.internal:7890"),
        ("https://127.0.0.1/x", "https://host.docker.internal/x"),
        ("http://[::1]:1/", "http://host.docker.internal:1/"),
        ("http://localhost.example:1", "http://localhost.example:1"),
        ("localhost", "localhost"),
    ],
)
def test_this_machine_has_another_name_inside(url: str, inside: str) -> None:
    assert seen_from_inside(url) == inside


async def test_an_image_is_pinned_to_what_the_engine_has(engine: StandIn, tmp_path: Path) -> None:
    own = engine.add_image("agent:latest")
    prepared = await docker(engine, tmp_path, None).prepare(request(image="agent"))
    assert prepared.pin == Pin(runtime="docker", version="agent:latest", artifact=own)
    spec = prepared.spec(AROUND)
    assert isinstance(spec, ContainerSpec)
    assert (spec.image, spec.argv, spec.workdir, spec.host) == (own, (), None, "127.0.0.1")
    assert spec.mounts == (
        Mount(Path("/f/releases/3"), "/formation"),
        Mount(Path("/f/state"), "/state", read_only=False),
    )
    assert spec.env["HOST"] == "0.0.0.0"
    assert spec.env["MUXI_SERVER_URL"] == "http://host.docker.internal:7890"
    assert spec.env["MUXI_RCE_URL"] == "http://host.docker.internal:7891"
    assert not {"PATH", "HOME"} & spec.env.keys(), "these are the image's"


async def test_a_command_is_run_where_the_bundle_is(engine: StandIn, tmp_path: Path) -> None:
    engine.add_image("agent:1")
    prepared = await docker(engine, tmp_path, None).prepare(request(image="agent:1", command=("serve", "x")))
    spec = prepared.spec(AROUND)
    assert isinstance(spec, ContainerSpec)
    assert (spec.argv, spec.workdir, spec.as_server) == (("serve", "x"), "/formation", True)


async def test_what_is_pinned_is_prepared_without_asking_anybody(engine: StandIn, tmp_path: Path) -> None:
    pin = Pin(runtime="docker", version="agent:1", artifact=f"agent@{DIGEST}")
    prepared = await docker(engine, tmp_path, None, pull="always").prepare(request(image="agent:1", pin=pin))
    assert prepared.pin == pin
    assert engine.seen == []
    spec = prepared.spec(AROUND)
    assert isinstance(spec, ContainerSpec)
    assert spec.image == f"agent@{DIGEST}"


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"image": "a b"}, "no name of an image"), ({"image": "a", "env": {"PORT": "1"}}, "sets PORT")],
)
async def test_what_can_t_be_is_refused_before_anything_is_fetched(
    engine: StandIn, tmp_path: Path, fields: dict[str, object], words: str
) -> None:
    with pytest.raises(RequestError, match=words):
        await docker(engine, tmp_path, None).prepare(request(**fields))  # type: ignore[arg-type]
    assert engine.seen == []


async def test_where_nothing_may_be_fetched_a_missing_image_is_told(engine: StandIn, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="is configured not to fetch any"):
        await docker(engine, tmp_path, None, pull="never").prepare(request(image="agent"))


async def test_presence_is_the_engine_s(engine: StandIn, tmp_path: Path) -> None:
    runtime = docker(engine, tmp_path, None)
    found = await runtime.presence()
    assert (found.available, found.version, found.detail) == (True, "20.10.24", f"unix://{tmp_path}/e.sock")
    await engine.go_away()
    gone = await runtime.presence()
    assert not gone.available
    assert "does not answer" in gone.problem
    assert gone.cure


# MUXI formations


async def test_a_muxi_formation_runs_in_a_runner_of_its_image(
    engine: StandIn, tmp_path: Path, shelf: Shelf
) -> None:
    own = engine.add_image("runner:1")
    prepared = await docker(engine, tmp_path, shelf).prepare(request("muxi", muxi_runtime="1:cuda"))
    assert prepared.pin == Pin(runtime="docker", version="1.2.3:cuda", artifact=own)
    assert (shelf.asked, shelf.ensured) == (["1:cuda"], [("1.2.3", "cuda")])
    spec = prepared.spec(AROUND)
    assert isinstance(spec, ContainerSpec)
    assert (spec.privileges, spec.gpus, spec.inner_port) == ("namespaces", True, 8001)
    assert spec.platform == "linux/amd64"
    assert [mount.target for mount in spec.mounts] == [
        "/formation", "/state", "/sif/runtime.sif", "/opt/hf-cache",
    ]  # fmt: skip
    assert not spec.mounts[0].read_only, "the runtime keeps its key beside the manifest"
    assert (tmp_path / "cache").is_dir()


async def test_a_pinned_one_only_needs_its_file(engine: StandIn, tmp_path: Path, shelf: Shelf) -> None:
    pin = Pin(runtime="docker", version="1.2.3", artifact=DIGEST)
    prepared = await docker(engine, tmp_path, shelf).prepare(request("muxi", pin=pin))
    assert prepared.pin == pin
    assert (shelf.asked, shelf.ensured, engine.seen) == ([], [("1.2.3", "lean")], [])


async def test_privileges_are_the_operator_s_to_give(engine: StandIn, tmp_path: Path, shelf: Shelf) -> None:
    engine.add_image("runner:1")
    runtime = docker(engine, tmp_path, shelf, runner_privileges="privileged")
    spec = (await runtime.prepare(request("muxi"))).spec(AROUND)
    assert isinstance(spec, ContainerSpec)
    assert spec.privileges == "privileged"
    assert "--userns" not in spec.argv


async def test_without_images_of_the_runtime_it_is_told(engine: StandIn, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="needs the MUXI runtime") as caught:
        await docker(engine, tmp_path, None).prepare(request("muxi"))
    assert caught.value.status == 501


def test_the_runner_s_command_line() -> None:
    assert " ".join(runner_arguments(8001, cuda=False, namespaces=True)) == (
        "exec --userns --bind /formation --bind /state --bind /tmp --bind /opt/hf-cache "
        "--bind /opt/muxi-tools:/opt/muxi-tools /sif/runtime.sif "
        "python -m muxi.runtime.utils.run_formation /formation --port 8001 --host 0.0.0.0"
    )
    assert runner_arguments(1, cuda=True, namespaces=False)[:2] == ("exec", "--nv")


def test_a_file_s_name_says_its_platform() -> None:
    assert platform_of(Path("/r/muxi-runtime-1.2.3-linux-arm64.sif")) == "linux/arm64"
