from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muxi.environment.requirements import plain_lines, read_requirements
from muxi.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def bundle(root: Path, files: Mapping[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_comments_blanks_and_continuations_say_nothing() -> None:
    text = "\n# all\nhttpx  >= 0.28 # client\n  \npkg==1 \\\n    --hash=sha256:ab\r\nx @ https://h/x.whl#sha256=ab\n"
    assert plain_lines(text) == ["httpx >= 0.28", "pkg==1 --hash=sha256:ab", "x @ https://h/x.whl#sha256=ab"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a==1\nb", "b\na==1  # pinned\n\na==1", True),
        ("a==1", "a==2", False),
        ("a", "a; python_version < '4'", False),
    ],
)
def test_what_means_the_same_has_the_same_lines(tmp_path: Path, one: str, other: str, same: bool) -> None:
    first = read_requirements(bundle(tmp_path / "1", {"requirements.txt": one}))
    second = read_requirements(bundle(tmp_path / "2", {"requirements.txt": other}))
    assert (first == second) is same


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"requirements.txt": "# none\n\n"},
        {"pyproject.toml": "[tool.ruff]\nline-length = 100\n"},
        {"pyproject.toml": '[project]\nname = "x"\ndependencies = []\n'},
    ],
)
def test_what_needs_nothing_has_none(tmp_path: Path, files: Mapping[str, str]) -> None:
    assert read_requirements(bundle(tmp_path, files)) is None


def test_files_that_are_included_count(tmp_path: Path) -> None:
    files = {
        "requirements.txt": "-r more/base.txt\n--constraint=limits.txt\na",
        "more/base.txt": "-r ../requirements.txt\nb",
        "limits.txt": "a<2",
    }
    found = read_requirements(bundle(tmp_path, files))
    assert found is not None
    assert set(found.lines) == {"a", "b", "a<2", "-c"}
    changed = read_requirements(bundle(tmp_path, {"more/base.txt": "b==2"}))
    assert changed is not None
    assert changed.lines != found.lines


@pytest.mark.parametrize(
    "line",
    ["-r ../../etc/passwd", "-r /etc/passwd", "-r https://host/r.txt", "-c absent.txt", "-r more/../../x"],
)
def test_what_is_included_lies_in_the_bundle(tmp_path: Path, line: str) -> None:
    with pytest.raises(RequestError, match="not in the bundle") as caught:
        read_requirements(bundle(tmp_path, {"requirements.txt": line}))
    assert (caught.value.code, caught.value.stage) == ("ParseError", "validating")


@pytest.mark.parametrize(
    ("line", "local"),
    [
        ("httpx>=0.28", False),
        ("pkg[extra]==1.0; python_version >= '3.11'", False),
        ("pkg @ https://host/pkg.whl", False),
        ("git+https://host/x/y.git@main", False),
        ("--find-links https://host/wheels", False),
        ("--extra-index-url https://host/simple", False),
        ("-e .", True),
        ("--editable ./lib", True),
        ("./wheels/pkg-1.0-py3-none-any.whl", True),
        ("wheels/pkg", True),
        ("pkg-1.0-py3-none-any.whl", True),
        ("pkg @ file:wheels/pkg.whl", True),
        ("--find-links wheels", True),
        ("--find-links=./wheels", True),
        ("/srv/wheels/pkg.whl", True),
    ],
)
def test_what_names_files_of_the_bundle_is_known(tmp_path: Path, line: str, local: bool) -> None:
    found = read_requirements(bundle(tmp_path, {"requirements.txt": line}))
    assert found is not None
    assert found.local is local


def test_the_dependencies_of_a_project(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\ndependencies = ["b >= 2", "a"]\n'
    found = read_requirements(bundle(tmp_path, {"pyproject.toml": text}))
    assert found is not None
    assert (found.source, found.lines, found.written) == ("pyproject.toml", ("a", "b >= 2"), ("a", "b >= 2"))


def test_a_lock_goes_before_them_and_requirements_before_both(tmp_path: Path) -> None:
    files = {"pyproject.toml": '[project]\nname = "x"\ndependencies = ["a"]\n', "uv.lock": "version = 1\n"}
    locked = read_requirements(bundle(tmp_path, files))
    assert locked is not None
    assert (locked.source, locked.local) == ("uv.lock", False)
    relocked = read_requirements(bundle(tmp_path, {"uv.lock": "version = 1\nrevision = 2\n"}))
    assert relocked is not None
    assert relocked.lines != locked.lines
    own = read_requirements(bundle(tmp_path, {"requirements.txt": "b"}))
    assert own is not None
    assert own.source == "requirements.txt"


@pytest.mark.parametrize(
    ("source", "local"),
    [('{ editable = "." }', False), ('{ virtual = "." }', False), ('{ directory = "lib" }', True)],
)
def test_a_lock_that_names_directories(tmp_path: Path, source: str, local: bool) -> None:
    lock = f'[[package]]\nname = "x"\nsource = {source}\n'
    found = read_requirements(bundle(tmp_path, {"pyproject.toml": "", "uv.lock": lock}))
    assert found is not None
    assert found.local is local


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("pyproject.toml", "[project", "is not TOML"),
        ("pyproject.toml", '[project]\nname = "x"\ndynamic = ["dependencies"]\n', "dynamic"),
        ("pyproject.toml", '[project]\nname = "x"\ndependencies = "a"\n', "no list"),
        ("requirements.txt", "a" * (4 * 1024 * 1024 + 1), "larger"),
        ("requirements.txt", "".join(f"-r {i}.txt\n" for i in range(60)), "more than 50"),
    ],
)
def test_files_that_can_not_be_used(tmp_path: Path, name: str, content: str, problem: str) -> None:
    for number in range(60):
        (tmp_path / f"{number}.txt").write_text("x\n")
    (tmp_path / name).write_text(content)
    with pytest.raises(RequestError, match=problem) as caught:
        read_requirements(tmp_path)
    assert "environment: false" in str(caught.value.cure)


def test_text_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_bytes(b"a\xff")
    with pytest.raises(RequestError, match="UTF-8"):
        read_requirements(tmp_path)
