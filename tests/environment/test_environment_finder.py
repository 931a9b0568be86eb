from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from muxi.environment.finder import Finder, parse_version
from muxi.errors import FormationFailed, RequestError
from tests.environment.stand_in import fake_python


def finder(*directories: Path, **environment: str) -> Finder:
    return Finder(os.pathsep.join(map(str, directories)), environment)


def test_a_real_one_says_what_it_is() -> None:
    found = finder(Path(sys.executable).parent).find(sys.executable)
    assert found.version == sys.version_info[:3]
    assert found.real == Path(os.path.realpath(sys.executable))
    assert found.has_pip
    assert "cpython" in found.abi


def test_of_many_names_the_one_that_is_asked_for(tmp_path: Path) -> None:
    fake_python(tmp_path / "a" / "python3", "3.11.2")
    fake_python(tmp_path / "a" / "python3.9", "3.9.18")
    fake_python(tmp_path / "b" / "python3.12", "3.12.4")
    look = finder(tmp_path / "a", tmp_path / "b")
    assert look.find().number == "3.11.2"
    assert look.find("3").number == "3.11.2"
    assert look.find("3.11").number == "3.11.2"
    assert look.find("3.12").path == tmp_path / "b" / "python3.12"
    assert look.find("python3.9").number == "3.9.18"
    assert look.find("3.12.4").number == "3.12.4"
    assert look.find(str(tmp_path / "a" / "python3.9")).number == "3.9.18"


def test_a_name_that_only_complains_is_passed_over(tmp_path: Path) -> None:
    """A version manager puts names on the path whose versions are not there."""
    fake_python(
        tmp_path / "shims" / "python3.12", "", body="echo 'python3.12: command not found' >&2; exit 127"
    )
    fake_python(tmp_path / "shims" / "python3", "", body="echo no answer")
    fake_python(tmp_path / "bin" / "python3.12", "3.12.1")
    look = finder(tmp_path / "shims", tmp_path / "bin")
    assert look.find("3.12").path == tmp_path / "bin" / "python3.12"


def test_what_did_not_answer_is_asked_again(tmp_path: Path) -> None:
    fake_python(tmp_path / "python3", "", body="exit 1")
    look = finder(tmp_path)
    with pytest.raises(FormationFailed):
        look.find()
    content = fake_python(tmp_path / "other", "3.11.2").read_bytes()
    with (tmp_path / "python3").open("r+b") as file:  # the same file
        file.truncate()
        file.write(content)
    assert look.find().number == "3.11.2"


def test_a_name_that_lies_is_not_believed(tmp_path: Path) -> None:
    fake_python(tmp_path / "python3.12", "3.9.1")
    with pytest.raises(FormationFailed, match=r"Python 3\.12 was not found"):
        finder(tmp_path).find("3.12")


def test_those_that_pyenv_and_uv_keep_the_newest_first(tmp_path: Path) -> None:
    for version in ("3.12.9", "3.12.10", "3.11.1"):
        fake_python(tmp_path / "home" / ".pyenv" / "versions" / version / "bin" / "python", version)
    uv = tmp_path / "home" / ".local" / "share" / "uv" / "python"
    fake_python(uv / "cpython-3.13.2-linux-x86_64-gnu" / "bin" / "python", "3.13.2")
    look = finder(tmp_path / "nothing", HOME=str(tmp_path / "home"))
    assert look.find("3.12").number == "3.12.10"
    assert look.find("3.13").number == "3.13.2"
    elsewhere = finder(tmp_path / "nothing", HOME="/", PYENV_ROOT=str(tmp_path / "home" / ".pyenv"))
    assert elsewhere.find("3.11").number == "3.11.1"


def test_one_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    fake_python(tmp_path / "python3", "3.11.2")
    fake_python(tmp_path / "python3.13", "3.13.0")
    with pytest.raises(FormationFailed) as caught:
        finder(tmp_path).find("3.8")
    error = caught.value
    assert (error.code, error.stage) == ("PythonNotFound", "resolving_runtime")
    assert f"Found: 3.11.2 ({tmp_path}/python3), 3.13.0 ({tmp_path}/python3.13)." in error.message
    assert error.cure


def test_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(FormationFailed, match=r"Python was not found .* Found: none"):
        finder(tmp_path).find()
    with pytest.raises(FormationFailed, match="There is no Python at /nowhere/python3"):
        finder(tmp_path).find("/nowhere/python3")
    assert finder(tmp_path).all() == []


def test_the_first_that_is_new_enough(tmp_path: Path) -> None:
    fake_python(tmp_path / "python3", "3.9.2")
    fake_python(tmp_path / "python3.11", "3.11.0")
    fake_python(tmp_path / "python3.12", "3.12.0")
    newest = finder(tmp_path).at_least((3, 10))
    assert newest is not None
    assert newest.number == "3.12.0"
    fake_python(tmp_path / "first" / "python3", "3.10.0")
    plain = finder(tmp_path / "first", tmp_path).at_least((3, 10))
    assert plain is not None
    assert plain.number == "3.10.0"
    assert finder(tmp_path).at_least((3, 14)) is None


def test_an_interpreter_sees_nothing_of_the_server(tmp_path: Path) -> None:
    body = f"env > {tmp_path}/seen; pwd > {tmp_path}/where; exit 1"
    fake_python(tmp_path / "python3", "", body=body)
    with pytest.raises(FormationFailed):
        finder(tmp_path, Path("/usr/bin"), HOME="/home/x", PYTHONPATH="/evil", MUXI_SECRET="canary").find(
            "3.99"
        )
    names = {line.partition("=")[0] for line in (tmp_path / "seen").read_text().splitlines()}
    assert names <= {"PATH", "HOME", "PWD", "OLDPWD", "SHLVL", "_"}
    assert (tmp_path / "where").read_text().strip() == "/"


@pytest.mark.parametrize(
    ("text", "version"), [("3", (3,)), ("3.12", (3, 12)), (" 3.12.1 ", (3, 12, 1)), ("python3.9", (3, 9))]
)
def test_versions(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("text", ["", ">=3.11", "3.x", "pypy3", "bin/python", "3.12.1.2", "٣"])
def test_what_is_neither_a_version_nor_a_path(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_version(text)
    assert caught.value.code == "ParseError"
