"""The file itself: what it is, what it says of itself, what it asks of the system."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import muxi
from build.elf import newest_glibc
from build.options import FILE, read_options
from muxi.cli.root import COMMANDS, CONFIG, DRAFT, FORMATION
from tests.program import BINARY, muxi_command, needs_binary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.cli.lazy import Lazy

from pathlib import Path

pytestmark = [needs_binary, pytest.mark.skipif(sys.platform != "linux", reason="looks at an ELF file")]
LIMITS = read_options(FILE.read_text("utf-8")).limits
#: What every system with glibc has.
OF_THE_SYSTEM = {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "libutil.so.1", "librt.so.1"}


def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        muxi_command(*arguments),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=env,
        stdin=subprocess.DEVNULL,
    )


def test_it_runs_on_systems_as_old_as_promised() -> None:
    assert newest_glibc(Path(BINARY)) <= LIMITS.glibc


def test_it_needs_no_library_but_the_c_library() -> None:
    objdump = shutil.which("objdump")
    if objdump is None:
        pytest.skip("objdump is not installed (Debian: binutils)")
    listing = subprocess.run([objdump, "-p", BINARY], capture_output=True, text=True, check=True).stdout
    needed = {line.split()[1] for line in listing.splitlines() if line.strip().startswith("NEEDED")}
    assert {name for name in needed if not name.startswith("ld-linux")} <= OF_THE_SYSTEM


def test_it_is_not_too_large() -> None:
    assert Path(BINARY).stat().st_size <= LIMITS.size


def test_it_says_what_it_was_built_from() -> None:
    facts = json.loads(run("version", "--json").stdout)
    assert facts["version"] == muxi.__version__
    assert len(facts["git_commit"].removesuffix("-modified")) == 12
    assert facts["build_time"].endswith("Z")
    assert facts["python"] >= "3.11"
    assert facts["openssl"].startswith("OpenSSL 3")


def test_it_runs_alone_in_an_empty_directory(tmp_path: Path) -> None:
    """Under another name, with no environment at all: nothing beside it is looked for."""
    copy = tmp_path / "server"
    shutil.copy(BINARY, copy)
    done = subprocess.run(
        [copy, "version"], capture_output=True, text=True, check=False, env={}, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["server"]


def test_what_python_s_variables_name_is_not_for_it(tmp_path: Path) -> None:
    (tmp_path / "trio.py").write_text("raise SystemExit('another trio')")
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('another site')")
    poison = {
        "PYTHONPATH": str(tmp_path),
        "PYTHONHOME": "/nowhere",
        "PYTHONSTARTUP": str(tmp_path / "trio.py"),
        "PYTHONINSPECT": "1",
        "PYTHONWARNINGS": "error",
        "LD_LIBRARY_PATH": str(tmp_path),
    }
    done = run("start", "--check", env={**os.environ, **poison, "MUXI_CONFIG_DIR": str(tmp_path)})
    assert "another" not in done.stderr
    # There is no key in this configuration: which it can only say once everything has been imported.
    assert done.returncode == 2
    assert "key" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("-c", "print(1)"), ("-m", "http.server"), ("--multiprocessing-fork",)]
)
def test_it_is_no_interpreter(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_every_command_is_inside() -> None:
    """Commands are loaded by name, which no compiler sees."""
    groups: dict[tuple[str, ...], dict[str, Lazy]] = {
        (): COMMANDS,
        ("formation",): FORMATION,
        ("formation", "draft"): DRAFT,
        ("config",): CONFIG,
    }
    for group, commands in groups.items():
        for name, command in commands.items():
            if not command.hidden:
                done = run("help", *group, name)
                assert done.returncode == 0, (group, name, done.stderr)
