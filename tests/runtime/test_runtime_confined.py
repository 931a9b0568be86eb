from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.config.environments import EnvironmentsConfig
from muxi.environment.store import Environments
from muxi.errors import OperatorError, RequestError
from muxi.formation.manifest import Manifest
from muxi.process.health import HealthCheck
from muxi.runtime.confined import Confined
from muxi.runtime.native import Native
from muxi.runtime.runtime import Request, Surroundings
from muxi.sandbox import sandbox as sandbox_module
from muxi.sandbox.sandbox import Sandbox
from muxi.sandbox.status import Status

if TYPE_CHECKING:
    from muxi.process.spec import ProcessSpec

FULL = Status(program="/usr/bin/bwrap", version="bubblewrap 0.8.0", filter_file=Path("/data/sandbox/x.bpf"))
MISSING = Status(problem="bubblewrap (bwrap) is not installed", cure="Install it.")


class Operator:
    sandbox_paths: tuple[str, ...] = ("/models",)
    user = ""

    def __init__(self, word: str) -> None:
        self.sandbox = word


class Stage:
    """A sandboxed native runtime, on a machine that can do what the test says."""

    def __init__(self, tmp_path: Path, patch: pytest.MonkeyPatch, word: str, here: Status) -> None:
        self.trials = 0
        self.operator = Operator(word)
        self.release, self.state = tmp_path / "releases" / "1", tmp_path / "state"
        self.sandbox = Sandbox(
            lambda: self.operator, directory=tmp_path / "data", private=(), search_path="/usr/bin:/bin"
        )
        environments = Environments(tmp_path, tmp_path, "/usr/bin:/bin", EnvironmentsConfig, {})
        self.runtime = Confined(Native("/usr/bin:/bin", environments), self.sandbox)

        async def find_out(*_: object) -> Status:
            await trio.lowlevel.checkpoint()
            self.trials += 1
            return here

        patch.setattr(sandbox_module, "find_out", find_out)

    async def spec(self, wanted: bool | None) -> tuple[ProcessSpec, str]:
        prepared = await self.runtime.prepare(
            Request(program=formation(wanted), release_dir=self.release, state_dir=self.state)
        )
        around = Surroundings(
            process_id="hello",
            host="127.0.0.1",
            port=8001,
            server_url="",
            stdout=Path("/out"),
            stderr=Path("/err"),
            defaults=HealthCheck(),
            stop_timeout=1.0,
            search_path="/usr/bin:/bin",
        )
        return prepared.spec(around), prepared.description

    async def check(self, wanted: bool | None) -> None:
        await trio.to_thread.run_sync(partial(self.runtime.check, formation(wanted), self.release))


def formation(wanted: bool | None) -> Manifest:
    return Manifest(
        file_name="formation.yaml",
        id="hello",
        kind="native",
        name="x",
        command=("sh", "-c", ":"),
        sandbox=wanted,
    )


async def test_who_wants_none_is_run_as_ever_and_nothing_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, monkeypatch, "off", FULL)
    await stage.check(None)
    spec, description = await stage.spec(None)
    assert (spec.argv, spec.scratch, description) == (("/usr/bin/sh", "-c", ":"), None, "native")
    assert stage.trials == 0
    assert stage.sandbox.in_force()["note"] == "not tried yet: no formation has wanted one"


async def test_who_wants_one_gets_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(tmp_path, monkeypatch, "off", FULL)
    await stage.check(True)
    spec, description = await stage.spec(True)
    assert spec.argv[:5] == ("/bin/sh", "-c", 'exec "$@" 3<"$0"', "/data/sandbox/x.bpf", "/usr/bin/bwrap")
    assert spec.argv[-4:] == ("--", "/usr/bin/sh", "-c", ":")
    assert "/models" in spec.argv
    assert spec.scratch == tmp_path / "data" / "scratch" / "hello.8001"
    assert description == "native, in a sandbox"


async def test_what_was_found_out_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(tmp_path, monkeypatch, "auto", FULL)
    await stage.check(None)
    await stage.spec(None)
    assert stage.trials == 1


async def test_the_operators_word_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(tmp_path, monkeypatch, "off", FULL)
    assert (await stage.spec(None))[1] == "native"
    stage.operator.sandbox = "required"
    assert (await stage.spec(None))[1] == "native, in a sandbox"
    with pytest.raises(RequestError, match="sandbox: false"):
        await stage.check(False)


async def test_where_none_can_be_made_it_is_said_at_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, monkeypatch, "off", MISSING)
    with pytest.raises(OperatorError, match="bwrap"):
        await stage.check(True)
    with pytest.raises(OperatorError, match="bwrap"):
        await stage.spec(True)
