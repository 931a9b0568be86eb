from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from muxi.errors import StorageError
from muxi.formation import collect as collect_module
from muxi.formation.collect import collect_state
from muxi.formation.state import link_state

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("memory.db", "MUXI.md", "PENDING-MUXI.md")
EARLIER, NOW, LATER = (1_700_000_000 * 10**9 + n * 10**9 for n in (-60, 0, 60))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a release whose state files are links, as they are when it is placed."""
    root = tmp_path / "releases" / "1"
    root.mkdir(parents=True)
    (tmp_path / "state").mkdir()
    for name in NAMES:
        link_state(root, name)
    return root


@pytest.fixture
def state(root: Path) -> Path:
    return root.parent.parent / "state"


def replace(path: Path, content: str, at: int) -> None:
    """Write a file as careful editors do: a new one, renamed over what is there."""
    made = path.with_name("new")
    made.write_text(content)
    os.utime(made, ns=(at, at))
    made.replace(path)


def files(state: Path) -> dict[str, str]:
    return {str(path.relative_to(state)): path.read_text() for path in state.rglob("*") if path.is_file()}


def linked(root: Path) -> bool:
    return all((root / name).is_symlink() for name in NAMES) and len(list(root.iterdir())) == len(NAMES)


def test_links_that_are_there_are_left(root: Path, state: Path) -> None:
    (root / "MUXI.md").write_text("through the link")
    assert collect_state(root, state) == ()
    assert files(state) == {"MUXI.md": "through the link"}
    assert linked(root)


def test_a_file_in_the_place_of_a_link_comes_back(root: Path, state: Path) -> None:
    replace(root / "PENDING-MUXI.md", "pending", NOW)
    assert collect_state(root, state) == ("PENDING-MUXI.md",)
    assert files(state) == {"PENDING-MUXI.md": "pending"}
    assert (root / "PENDING-MUXI.md").read_text() == "pending"
    assert linked(root)
    assert collect_state(root, state) == ()


def test_the_one_written_last_is_the_live_one_and_the_other_is_kept(root: Path, state: Path) -> None:
    replace(state / "MUXI.md", "of the state", NOW)
    replace(root / "MUXI.md", "of the app", LATER)
    assert collect_state(root, state) == ("MUXI.md",)
    assert files(state) == {"MUXI.md": "of the app", "replaced/MUXI.md": "of the state"}
    replace(root / "MUXI.md", "of an app that ended earlier", EARLIER)
    collect_state(root, state)
    assert files(state) == {"MUXI.md": "of the app", "replaced/MUXI.md": "of an app that ended earlier"}
    assert linked(root)


def database(path: Path, text: str, *, leave_log: bool = False) -> None:
    """Make a database with one row; with `leave_log` as a killed app leaves it, the row in its log only."""
    path.unlink(missing_ok=True)
    made = path.with_name("made.db")
    with closing(sqlite3.connect(made)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE notes (text)")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("INSERT INTO notes VALUES (?)", (text,))
        connection.commit()
        if leave_log:
            for suffix in ("", "-wal"):
                path.with_name(f"{path.name}{suffix}").write_bytes(
                    made.with_name(f"made.db{suffix}").read_bytes()
                )
    if not leave_log:
        made.rename(path)
    for leftover in path.parent.glob("made.db*"):
        leftover.unlink()


def rows(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [text for (text,) in connection.execute("SELECT text FROM notes")]


def test_a_database_comes_back_with_what_is_only_in_its_log(root: Path, state: Path) -> None:
    database(state / "memory.db", "old", leave_log=True)
    os.utime(state / "memory.db", ns=(EARLIER, EARLIER))
    os.utime(state / "memory.db-wal", ns=(EARLIER, EARLIER))
    (root / "memory.db").unlink()
    database(root / "memory.db", "new", leave_log=True)
    assert collect_state(root, state) == ("memory.db",)
    assert rows(root / "memory.db") == ["new"]
    assert rows(state / "replaced" / "memory.db") == ["old"]
    assert linked(root)
    assert not (state / "memory.db-wal").exists() or (state / "memory.db-wal").stat().st_size == 0


def test_what_is_no_database_comes_back_too(root: Path, state: Path) -> None:
    replace(root / "memory.db", "not SQLite at all", NOW)
    (root / "memory.db-wal").write_text("nor this")
    collect_state(root, state)
    assert files(state) == {"memory.db": "not SQLite at all"}
    assert linked(root)


def test_a_database_in_use_stays_with_its_log(
    root: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect_module, "BUSY_SECONDS", 0.0)
    (root / "memory.db").unlink()
    database(root / "memory.db", "new", leave_log=True)
    with closing(sqlite3.connect(root / "memory.db")) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT text FROM notes").fetchall() == [("new",)]
        with closing(sqlite3.connect(root / "memory.db")) as writer, writer:
            writer.execute("INSERT INTO notes VALUES ('newer')")
        with pytest.raises(StorageError) as caught:
            collect_state(root, state)
    assert caught.value.code == "StateNotCollected"
    assert rows(root / "memory.db") == ["new", "newer"]
    assert not (root / "memory.db").is_symlink()
    assert collect_state(root, state) == ("memory.db",)
    assert rows(state / "memory.db") == ["new", "newer"]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("place", ["link_state", "_copy_aside", "_fold_log"])
def test_a_crash_is_made_good_by_the_next_call(root: Path, state: Path, place: str) -> None:
    def killed(*_: object) -> None:
        raise Killed

    database(state / "memory.db", "old")
    os.utime(state / "memory.db", ns=(EARLIER, EARLIER))
    (root / "memory.db").unlink()
    database(root / "memory.db", "new", leave_log=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collect_module, place, killed)
        with pytest.raises(Killed):
            collect_state(root, state)
    collect_state(root, state)
    assert rows(root / "memory.db") == ["new"]
    assert (root / "memory.db").is_symlink()


def test_a_disk_that_refuses_is_said_and_nothing_is_lost(
    root: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    replace(state / "MUXI.md", "of the state", NOW)
    replace(root / "MUXI.md", "of the app", LATER)
    with monkeypatch.context() as patch:
        patch.setattr(collect_module, "_copy_aside", full)
        with pytest.raises(StorageError, match="collect the formation's state"):
            collect_state(root, state)
    assert (root / "MUXI.md").read_text() == "of the app"
    assert files(state) == {"MUXI.md": "of the state"}
