from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.errors import OperatorError
from muxi.upgrade.installed import Installed, version_of
from muxi.upgrade.release import file_name, parse, plain
from tests.upgrade.releases import installed, program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs are shell scripts")


@pytest.fixture
def here(tmp_path: Path) -> Installed:
    return Installed(installed(tmp_path / "muxi-server", "1.1.1"))


def brought(here: Installed) -> None:
    file = here.path.with_name("fetched")
    file.write_bytes(program("2.2.2"))
    here.bring(file, "2.2.2")
    file.unlink()


def names(here: Installed) -> set[str]:
    return {path.name for path in here.path.parent.iterdir()}


def test_there_and_back(here: Installed) -> None:
    brought(here)
    here.replace()
    assert (version_of(here.path), version_of(here.old)) == ("2.2.2", "1.1.1")
    here.restore()
    assert version_of(here.path) == "1.1.1"
    assert names(here) == {"muxi-server"}


def test_one_that_was_kept_before_makes_way(here: Installed) -> None:
    here.old.write_text("ancient")
    brought(here)
    here.replace()
    assert version_of(here.old) == "1.1.1"


@pytest.mark.parametrize("refused", ["replace", "link"])
def test_a_disk_that_refuses_leaves_the_old_one(
    refused: str, here: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought(here)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if refused == "replace":
        monkeypatch.setattr(Path, "replace", refuse)
    else:
        monkeypatch.setattr(os, "link", refuse)
        monkeypatch.setattr("shutil.copy2", refuse)
    with pytest.raises(OperatorError, match="can't be replaced: No space"):
        here.replace()
    monkeypatch.undo()
    assert version_of(here.path) == "1.1.1"
    assert not here.new.exists()


def test_a_file_system_without_links_has_a_copy(here: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    brought(here)
    here.replace()
    assert (version_of(here.path), version_of(here.old)) == ("2.2.2", "1.1.1")


def test_without_an_old_one_there_is_no_way_back(here: Installed) -> None:
    with pytest.raises(OperatorError, match="can't be put back"):
        here.restore()
    assert version_of(here.path) == "1.1.1"


@pytest.mark.parametrize(
    ("version", "read"),
    [("1.20261125.3", (1, 20261125, 3)), ("v0.1.2", (0, 1, 2)), (" 1.0.0\n", (1, 0, 0))],
)
def test_versions(version: str, read: tuple[int, int, int]) -> None:
    assert parse(version) == read


@pytest.mark.parametrize("version", ["", "1.2", "1.2.3.4", "latest", "1.2.3-dev", "../1.2.3", "1.2.\u0663"])
def test_what_is_no_version(version: str) -> None:
    with pytest.raises(OperatorError):
        parse(version)


@given(st.tuples(*[st.integers(0, 10**9 - 1)] * 3), st.tuples(*[st.integers(0, 10**9 - 1)] * 3))
def test_versions_compare_as_numbers(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    texts = [".".join(map(str, numbers)) for numbers in (one, other)]
    assert (parse(texts[0]) < parse(texts[1])) is (one < other)
    assert plain(f"v{texts[0]}") == texts[0]


@pytest.mark.parametrize(
    ("system", "architecture", "name"),
    [
        ("linux", "amd64", "muxi-server-linux-amd64"),
        ("darwin", "arm64", "muxi-server-darwin-arm64"),
        ("win32", "amd64", "muxi-server-windows-amd64.exe"),
    ],
)
def test_names_of_files(system: str, architecture: str, name: str) -> None:
    assert file_name(system, architecture) == name
