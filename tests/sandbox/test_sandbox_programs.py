from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from muxi.sandbox.programs import places

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Make an installation of an interpreter, in a home directory with other things in it."""
    home = tmp_path / "home"
    for directory in ("bin", "lib/python3.11", "share/keyrings", ".ssh"):
        (home / directory).mkdir(parents=True)
    program = home / "bin" / "python3.11"
    program.write_bytes(b"\x7fELF")
    program.chmod(0o755)
    (home / "bin" / "python3").symlink_to("python3.11")
    return home / "bin" / "python3"


def test_an_installation_is_shown_and_the_rest_of_the_home_is_not(python: Path) -> None:
    home = python.parent.parent
    assert places(str(python), "") == (home / "bin", home / "lib")


def test_an_environment_is_shown_with_the_interpreter_that_it_was_made_of(
    python: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "environment"
    (environment / "bin").mkdir(parents=True)
    (environment / "pyvenv.cfg").write_text("home = elsewhere\n")
    (environment / "bin" / "python").symlink_to(python)
    assert places(str(environment / "bin" / "python"), "") == (
        environment,
        python.parent,
        python.parent.parent / "lib",
    )


@pytest.mark.parametrize("line", ["#!{python}", "#!/usr/bin/env python3", "#!/usr/bin/env -S python3 -u"])
def test_the_interpreter_of_a_script_is_shown(python: Path, tmp_path: Path, line: str) -> None:
    script = tmp_path / "tools" / "serve"
    script.parent.mkdir()
    script.write_text(line.format(python=python) + "\n")
    assert places(str(script), f"/nowhere{os.pathsep}{python.parent}") == (
        script,
        python.parent,
        python.parent.parent / "lib",
    )


def test_links_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert places(str(tmp_path / "a"), "") == ()


def test_what_is_not_there_needs_nothing_more(tmp_path: Path) -> None:
    assert places(str(tmp_path / "bin" / "gone"), "") == ()


def test_a_program_that_lies_in_a_home_does_not_open_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    program = tmp_path / "agent"
    program.write_bytes(b"\x7fELF")
    assert places(str(program), "") == (program,)
