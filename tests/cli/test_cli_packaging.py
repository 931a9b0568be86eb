"""What installs this: lock files, and the step that makes the virtual environment."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import muxi

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements"
LOCKS = ("run", "test", "dev")


def locked(name: str) -> dict[str, str]:
    """Return the requirements of a lock file: name to version."""
    text = (REQUIREMENTS / f"{name}.lock").read_text("utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", text, re.MULTILINE))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", item)[0].lower() for item in requirements}


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_has_a_version_and_a_hash_and_no_address(name: str) -> None:
    text = (REQUIREMENTS / f"{name}.lock").read_text("utf-8")
    entries = re.split(r"\n(?=[a-z])", text.strip())
    assert len(entries) == len(locked(name))
    for entry in entries:
        assert "--hash=sha256:" in entry
        assert "://" not in entry
        assert " @ " not in entry
    assert not re.search(r"^(-|--)", text, re.MULTILINE)


def test_the_smaller_locks_are_parts_of_the_largest() -> None:
    everything = locked("dev")
    for name in ("run", "test"):
        assert locked(name).items() <= everything.items()
    assert locked("run").items() <= locked("test").items()


def test_all_that_is_declared_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert names(project["project"]["dependencies"]) <= locked("run").keys()
    groups = project["dependency-groups"]
    assert names(groups["build"]) <= locked("run").keys()
    assert names(groups["test"]) <= locked("test").keys()
    assert names(groups["types"] + groups["lint"]) <= locked("dev").keys()
    assert "trio-typing" not in locked("dev")


def test_the_licence_is_the_one_that_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["license"] == "Elastic-2.0"
    assert (ROOT / "LICENSE").read_text("utf-8").startswith("Elastic License 2.0\n")
    assert re.fullmatch(r"1\.\d{8}\.\d+", muxi.__version__)


def make_venv(directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(REQUIREMENTS / "make-venv"), str(directory / "venv")],
        env={"PATH": str(directory), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def fake_python(directory: Path, script: str) -> str:
    path = directory / "python3"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_no_python_at_all_is_told(tmp_path: Path) -> None:
    done = make_venv(tmp_path)
    assert done.returncode == 1
    assert "no Python of version 3.11 or newer was found" in done.stderr
    assert "make PYTHON=" in done.stderr


def test_an_old_python_is_passed_over(tmp_path: Path) -> None:
    fake_python(tmp_path, "exit 1")
    done = make_venv(tmp_path)
    assert done.returncode == 1
    assert "3.11 or newer" in done.stderr


def test_an_old_python_that_was_asked_for_is_refused_by_name(tmp_path: Path) -> None:
    old = fake_python(tmp_path, "exit 1")
    done = make_venv(tmp_path, PYTHON=old)
    assert done.returncode == 1
    assert f"PYTHON={old}" in done.stderr


def test_debian_without_venv_is_told_the_package(tmp_path: Path) -> None:
    fake_python(tmp_path, 'case "$2" in *ensurepip*) exit 1;; *print*) echo 3.12;; esac')
    done = make_venv(tmp_path)
    assert done.returncode == 1
    assert "apt install python3-venv" in done.stderr
    assert "python3.12-venv" in done.stderr
    assert not (tmp_path / "venv").exists()
