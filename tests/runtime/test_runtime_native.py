from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muxi.errors import FormationFailed, RequestError
from muxi.formation.manifest import Manifest
from muxi.process.health import HealthCheck, Readiness, StartUp
from muxi.process.limits import Limits
from muxi.process.spec import ProcessSpec
from muxi.runtime.choice import choose
from muxi.runtime.native import find_program, native_spec
from muxi.runtime.program import HealthOptions
from muxi.runtime.runtime import Surroundings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.process.spec import ProcessSpec

RELEASE = Path("/data/formations/hello/releases/1")
STATE = Path("/data/formations/hello/state")


def find_any(name: str, search_path: str) -> str | None:
    return name if name.startswith("/") else f"/found/{name}"


def manifest(**fields: object) -> Manifest:
    return Manifest(**{"file_name": "formation.yaml", "id": "hello", "kind": "native", "name": "x", **fields})  # type: ignore[arg-type]


def spec(
    program: Manifest, *, extra_env: Mapping[str, str] | None = None, search_path: str = "/usr/bin:/bin"
) -> ProcessSpec:
    around = Surroundings(
        process_id="hello",
        host="127.0.0.1",
        port=8001,
        server_url="http://localhost:7890",
        stdout=Path("/logs/out"),
        stderr=Path("/logs/err"),
        defaults=HealthCheck(),
        stop_timeout=7.0,
        limits=Limits(memory=1 << 30),
        search_path=search_path,
        extra_env=extra_env or {},
    )
    return native_spec(program, RELEASE, STATE, around, find=find_any)


def test_the_environment_is_the_documented_list_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    assert spec(manifest()).env == {
        "PATH": "/usr/bin:/bin",
        "HOME": str(STATE),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "MUXI_ENV": "production",
        "PORT": "8001",
        "HOST": "127.0.0.1",
        "FORMATION_ID": "hello",
        "MUXI_SERVER_URL": "http://localhost:7890",
        "_port": "8001",
        "_bind_host": "127.0.0.1",
    }


def test_where_and_how_it_runs() -> None:
    made = spec(manifest())
    assert made.argv == ("/found/python3", "app.py")
    assert (made.cwd, made.host, made.port, made.process_id) == (RELEASE, "127.0.0.1", 8001, "hello")
    assert (made.stdout, made.stderr, made.stop_timeout) == (Path("/logs/out"), Path("/logs/err"), 7.0)
    assert made.health == HealthCheck()
    assert made.limits == Limits(memory=1 << 30)


def test_the_manifest_has_its_say() -> None:
    made = spec(
        manifest(
            command=("node", "server.js"),
            env={"LANG": "de_DE.UTF-8", "TOKEN": "canary"},
            health=HealthOptions(path="/ready", startup_timeout=300.0),
            stop_timeout=30.0,
        ),
        extra_env={"MUXI_RCE_URL": "http://127.0.0.1:7891"},
    )
    assert made.argv == ("/found/node", "server.js")
    assert made.env["LANG"] == "de_DE.UTF-8"
    assert made.env["TOKEN"] == "canary"
    assert made.env["MUXI_RCE_URL"] == "http://127.0.0.1:7891"
    assert made.health == HealthCheck(
        start_up=StartUp(paths=("/ready",), budget=300.0), readiness=Readiness(paths=("/ready",))
    )
    assert made.stop_timeout == 30.0
    assert "canary" not in repr(made)


@pytest.mark.parametrize("variable", ["PORT", "HOST", "FORMATION_ID", "MUXI_SERVER_URL", "_port", "EXTRA"])
def test_the_manifest_cannot_set_what_the_server_sets(variable: str) -> None:
    with pytest.raises(RequestError, match=variable):
        spec(manifest(env={variable: "x"}), extra_env={"EXTRA": "1"})


def test_a_reference_to_a_secret_is_not_passed_on_as_if_it_were_the_value() -> None:
    with pytest.raises(RequestError, match="TOKEN") as caught:
        spec(manifest(env={"TOKEN": "Bearer ${{secrets.TOKEN}}", "PLAIN": "x"}))
    assert caught.value.code == "SecretsError"
    assert "PLAIN" not in caught.value.message


def test_a_muxi_formation_is_answered_501_where_nothing_can_run_it() -> None:
    with pytest.raises(RequestError) as caught:
        choose(manifest(kind="muxi"), {}, None)
    error = caught.value
    assert (error.status, error.code, error.stage) == (501, "RuntimeUnavailable", "resolving_runtime")
    assert error.cure
    assert choose(manifest(), {}, None).name == "native"


def test_programs_are_really_looked_up(tmp_path: Path) -> None:
    program = tmp_path / "run.sh"
    program.write_text("#!/bin/sh\n")
    assert find_program("run.sh", str(tmp_path)) is None
    program.chmod(0o755)
    assert find_program("run.sh", str(tmp_path)) == str(program)
    assert find_program(str(program), "/nowhere") == str(program)
    assert find_program("run.sh", "/nowhere") is None


def at(release: Path, *command: str, env: Mapping[str, str] | None = None) -> ProcessSpec:
    around = Surroundings(
        process_id="hello",
        host="127.0.0.1",
        port=8001,
        server_url="",
        stdout=Path("/out"),
        stderr=Path("/err"),
        defaults=HealthCheck(),
        stop_timeout=1.0,
        search_path="/nowhere",
    )
    return native_spec(manifest(command=command, env=env or {}), release, STATE, around)


def test_a_program_of_the_formation_itself(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "agent").write_text("#!/bin/sh\n")
    with pytest.raises(FormationFailed, match="may not be executed") as caught:
        at(tmp_path, "./bin/agent")
    assert caught.value.cure is not None
    assert "chmod +x" in caught.value.cure
    (tmp_path / "bin" / "agent").chmod(0o755)
    assert Path(at(tmp_path, "./bin/agent", "-v").argv[0]) == tmp_path / "bin" / "agent"
    assert at(tmp_path, "agent", env={"PATH": str(tmp_path / "bin")}).argv[0] == str(
        tmp_path / "bin" / "agent"
    )


@pytest.mark.parametrize(
    "command", ["no-such-program", "./no-such-program", "../outside", "bin/../../outside"]
)
def test_a_program_that_is_not_there(tmp_path: Path, command: str) -> None:
    (tmp_path / "release").mkdir()
    (tmp_path / "outside").write_text("#!/bin/sh\n")
    (tmp_path / "outside").chmod(0o755)
    with pytest.raises(FormationFailed) as caught:
        at(tmp_path / "release", command)
    error = caught.value
    assert (error.code, error.stage, error.status) == ("SpawnError", "spawning", 400)
    assert command in error.message
    assert error.cure
