from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muxi.runtime.apptainer_command import Container, Mount, command, environment, token_variables
from muxi.runtime.apptainer_engine import Engine, read_version

if TYPE_CHECKING:
    from collections.abc import Mapping

APPTAINER = Engine("/usr/bin/apptainer", "apptainer", (1, 3, 4), "APPTAINER")
SINGULARITY = Engine("/usr/bin/singularity", "singularity-ce", (4, 1, 0), "SINGULARITY")
MODELS = Mount(Path("/cache/hub"), "/opt/hf-cache", writable=True)


def container(
    variant: str = "lean",
    mounts: tuple[Mount, ...] = (MODELS,),
    path_first: str = "",
    env: Mapping[str, str] | None = None,
) -> Container:
    return Container(
        image=Path("/data/runtimes/muxi-runtime-1.2.3-linux-amd64.sif"),
        variant=variant,
        release=Path("/data/formations/hello/releases/1"),
        state=Path("/data/formations/hello/state"),
        scratch=Path("/data/apptainer/scratch/hello.8001"),
        mounts=mounts,
        path_first=path_first,
        env=env or {},
    )


def test_the_command_line() -> None:
    node = Mount(Path("/usr/bin/node"), "/opt/muxi-tools/bin/node")
    made = command(APPTAINER, container(mounts=(MODELS, node)), "127.0.0.1", 8001)
    assert list(made) == [
        "/usr/bin/apptainer", "--quiet", "exec",
        "--containall", "--cleanenv", "--pid", "--no-privs", "--no-eval", "--no-home",
        "--workdir", "/data/apptainer/scratch/hello.8001",
        "--mount", "type=bind,source=/data/formations/hello/releases/1,destination=/formation",
        "--mount", "type=bind,source=/data/formations/hello/state,destination=/state",
        "--mount", "type=bind,source=/cache/hub,destination=/opt/hf-cache",
        "--mount", "type=bind,source=/usr/bin/node,destination=/opt/muxi-tools/bin/node,ro",
        "--pwd", "/formation",
        "/data/runtimes/muxi-runtime-1.2.3-linux-amd64.sif",
        "env", "HOME=/state", "python", "-m", "muxi.runtime.utils.run_formation", "/formation",
        "--port", "8001", "--host", "127.0.0.1",
    ]  # fmt: skip


@pytest.mark.parametrize(("variant", "flags"), [("cuda", {"--nv"}), ("rocm", {"--rocm"}), ("pytorch", set())])
def test_gpus_are_for_the_variants_that_use_them(variant: str, flags: set[str]) -> None:
    made = command(APPTAINER, container(variant), "127.0.0.1", 8001)
    assert {"--nv", "--rocm"} & set(made) == flags


def test_any_path_can_be_mounted() -> None:
    assert str(Mount(Path('/a,b:c "d"'), "/x")) == 'type=bind,"source=/a,b:c ""d""",destination=/x,ro'


@pytest.mark.parametrize(
    ("engine", "prefix"),
    [(APPTAINER, "APPTAINER"), (SINGULARITY, "SINGULARITY")],
    ids=["apptainer", "singularity"],
)
def test_variables_go_in_by_the_engines_environment_and_are_on_no_command_line(
    engine: Engine, prefix: str
) -> None:
    inside = container(env={"API_KEY": "canary $(id)", "_port": "8001"}, path_first="/opt/muxi-tools/bin")
    assert environment(engine, inside, "/usr/bin:/bin", Path("/data/apptainer")) == {
        "PATH": "/usr/bin:/bin",
        "HOME": "/data/apptainer",
        "LANG": "C.UTF-8",
        f"{prefix}_CONFIGDIR": "/data/apptainer/config",
        f"{prefix}_CACHEDIR": "/data/apptainer/cache",
        f"{prefix}ENV_API_KEY": "canary $(id)",
        f"{prefix}ENV__port": "8001",
        f"{prefix}ENV_PREPEND_PATH": "/opt/muxi-tools/bin",
    }
    assert token_variables(engine) == (f"{prefix}ENV_MUXI_INSTANCE_TOKEN",)
    assert "canary" not in " ".join(command(engine, inside, "127.0.0.1", 8001)) + repr(inside)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("apptainer version 1.3.4-1.el9\n", "apptainer 1.3.4"),
        ("apptainer version 1.4\n", "apptainer 1.4"),
        ("singularity-ce version 4.1.0-jammy\n", "singularity-ce 4.1.0"),
        ("singularity version 3.10.2\n", "singularity 3.10.2"),
    ],
)
def test_engines_say_who_they_are(said: str, name: str) -> None:
    assert str(read_version("/usr/bin/x", said)) == name


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("apptainer version 1.0.3\n", "version 1.0.3, and 1.1 is the oldest"),
        ("singularity version 3.8.7\n", "version 3.8.7, and 3.10 is the oldest"),
        ("singularity 0.0.1 - a game\n", "does not say its version"),
        ("", "does not say its version"),
    ],
)
def test_an_engine_that_will_not_do(said: str, problem: str) -> None:
    found = read_version("/usr/bin/x", said)
    assert isinstance(found, str)
    assert problem in found
