"""The interpreter's source is taken from wherever it can be had, if it is that very file."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from build import source
from build.errors import CannotBuildError
from build.options import FILE, CPython, read_options
from build.source import VARIABLE, fetch

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"the source"


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> CPython:
    """Options by which nothing is to be had but what the test puts there."""

    def unreachable(_options: CPython, _target: Path) -> None:
        raise OSError("no network")

    for name in ("_from_its_maker", "_from_debian"):
        monkeypatch.setattr(source, name, unreachable)
    monkeypatch.delenv(VARIABLE, raising=False)
    return replace(read_options(FILE.read_text("utf-8")).cpython, sha256=hashlib.sha256(CONTENT).hexdigest())


def put(directory: Path, options: CPython, content: bytes) -> Path:
    path = directory / f"Python-{options.version}.tar.xz"
    path.write_bytes(content)
    return path


def test_a_kept_file_is_taken(options: CPython, tmp_path: Path) -> None:
    path = put(tmp_path, options, CONTENT)
    assert fetch(options, tmp_path) == path


def test_another_file_than_the_pinned_one_is_thrown_away(options: CPython, tmp_path: Path) -> None:
    path = put(tmp_path, options, b"something else")
    with pytest.raises(CannotBuildError, match="another file"):
        fetch(options, tmp_path)
    assert not path.exists()


def test_a_file_from_elsewhere_can_be_named(
    options: CPython, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(CONTENT)
    monkeypatch.setenv(VARIABLE, str(elsewhere))
    (tmp_path / "cache").mkdir()
    assert fetch(options, tmp_path / "cache").read_bytes() == CONTENT


def test_when_it_is_nowhere_each_reason_is_told(options: CPython, tmp_path: Path) -> None:
    with pytest.raises(CannotBuildError, match=f"no network.*no network.*{VARIABLE}="):
        fetch(options, tmp_path)
