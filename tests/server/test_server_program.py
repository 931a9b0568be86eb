from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

from muxi.server.program import Program, absolute, this_program

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_under_an_interpreter_it_is_started_by_the_same_command() -> None:
    found = this_program()
    assert (found.path, found.argv) == (sys.executable, tuple(sys.orig_argv))
    assert not found.obstacle


def test_a_binary_is_started_by_the_path_it_was_called_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "versions" / "2"
    new.mkdir(parents=True)
    (new / "muxi-server").touch(0o755)
    link = tmp_path / "muxi-server"
    link.symlink_to(new / "muxi-server")
    monkeypatch.setenv("PATH", str(tmp_path))
    compiled = SimpleNamespace(original_argv0="muxi-server", onefile=False)
    monkeypatch.setattr(sys.modules["__main__"], "__compiled__", compiled, raising=False)
    monkeypatch.setattr(sys, "argv", [str(new / "muxi-server"), "start", "--port", "1"])
    assert this_program() == Program(str(link), ("muxi-server", "start", "--port", "1"))


def test_one_that_unpacks_itself_can_t_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = SimpleNamespace(original_argv0="/x/m", onefile=True)
    monkeypatch.setattr(sys.modules["__main__"], "__compiled__", compiled, raising=False)
    assert "unpacks itself" in this_program().obstacle


def test_a_relative_path_begins_where_the_program_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("./bin/m") == str(tmp_path / "bin" / "m")
    assert absolute("/usr/bin/m") == "/usr/bin/m"


def test_the_check_is_asked_with_the_same_arguments() -> None:
    assert Program("/x/m", ("m", "start", "--port", "1")).checking() == (
        "/x/m",
        "start",
        "--port",
        "1",
        "--check",
    )
    assert Program("/x/m", ("m",)).checking() == ("/x/m", "--check")
