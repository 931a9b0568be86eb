from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muxi.sandbox import trial
from muxi.sandbox.trial import find_out

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bubblewrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a program in bubblewrap's place, on a PATH without any other."""
    program = tmp_path / "bin" / "bwrap"
    program.parent.mkdir()
    monkeypatch.setattr(trial, "_PATH", str(program.parent))
    return program


def says(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


async def test_it_is_not_installed(bubblewrap: Path, tmp_path: Path) -> None:
    found = await find_out(str(bubblewrap.parent), tmp_path / "data")
    assert (found.program, found.problem) == ("", "bubblewrap (bwrap) is not installed")
    assert "Install bubblewrap" in found.cure
    assert not (tmp_path / "data").exists()


async def test_a_machine_that_allows_no_namespaces_says_so(bubblewrap: Path, tmp_path: Path) -> None:
    says(
        bubblewrap,
        '[ "$1" = --version ] && echo bubblewrap 0.8.0 || { echo "bwrap: No permissions" >&2; exit 1; }',
    )
    found = await find_out(str(bubblewrap.parent), tmp_path / "data")
    assert (found.program, found.problem) == ("", "bwrap: No permissions")
    assert "user namespaces" in found.cure
    assert not (tmp_path / "data" / "trial").exists()


async def test_a_kernel_without_filters_gets_a_sandbox_without_one(bubblewrap: Path, tmp_path: Path) -> None:
    says(bubblewrap, 'case "$*" in --version) echo bubblewrap 0.8.0;; *--seccomp*) exit 1;; esac')
    found = await find_out(str(bubblewrap.parent), tmp_path / "data")
    assert (found.program, found.filter_file) == (str(bubblewrap), None)
    assert found.problem == "no filter of system calls could be set"
    assert found.in_force("auto")["system_calls"] == "none"


async def test_a_machine_whose_calls_we_do_not_know_gets_no_filter(
    bubblewrap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(bubblewrap, 'case "$*" in --version) echo bubblewrap 0.8.0;; *--seccomp*) exit 1;; esac')
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    found = await find_out(str(bubblewrap.parent), tmp_path / "data")
    assert (found.program, found.filter_file) == (str(bubblewrap), None)


async def test_one_that_hangs_is_not_waited_for(
    bubblewrap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "TIMEOUT", 0.2)
    says(bubblewrap, "exec /bin/sleep 600")
    found = await find_out(str(bubblewrap.parent), tmp_path / "data")
    assert found.problem == f"{bubblewrap}: no answer within 0.2 s"


async def test_elsewhere_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    found = await find_out("/usr/bin", tmp_path)
    assert "Linux only" in found.problem
