from __future__ import annotations

import json
import shutil
import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from muxi import files
from muxi.errors import BundleError, RequestError, StorageError
from muxi.formation import releases as releases_module
from muxi.formation import state as state_module
from muxi.formation import versions
from muxi.formation.disk import remove_tree
from muxi.formation.releases import Release, Releases, sweep, workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "formations"


def extracted(base: Path, **files: str) -> Path:
    root = workspace(base) / "extracted"
    root.mkdir(parents=True)
    for name, content in {"app_py": "print()", **files}.items():
        (root / name.replace("__", "-").replace("_", ".")).write_text(content)
    return root


def install(base: Path, releases: Releases, semantic: str = "1.0.0", **files: str) -> Release:
    return releases.install(
        extracted(base, **files), semantic=semantic, bundle_hash="b" + semantic, content_hash="c" + semantic
    )


def version_json(releases: Releases) -> dict[str, object]:
    found = json.loads((releases.home / "version.json").read_text())
    assert isinstance(found, dict)
    return found


def test_the_first_release(base: Path) -> None:
    releases = Releases(base, "hello")
    assert releases.current() is None
    release = install(base, releases)
    assert (release.number, release.path) == (1, base / "hello" / "releases" / "1")
    assert (release.path / "app.py").read_text() == "print()"
    assert Releases(base, "hello").current() == release
    assert releases.previous() is None
    assert (releases.home / "current").readlink().as_posix() == "releases/1"
    assert not (releases.home / "previous").is_symlink()
    assert not any(workspace(base).iterdir())


def test_version_json_is_as_existing_tools_read_it(base: Path) -> None:
    releases = Releases(base, "hello")
    install(base, releases)
    first = version_json(releases)
    assert set(first) == {"current_version", "current"}
    install(base, releases, "1.1.0")
    second = version_json(releases)
    assert (second["current_version"], second["previous_version"]) == (2, 1)
    current, previous = second["current"], second["previous"]
    assert isinstance(current, dict)
    assert isinstance(previous, dict)
    assert str(current.pop("deployed_at")).endswith("+00:00")
    assert current == {
        "version": 2,
        "bundle_hash": "b1.1.0",
        "backup_path": "current",
        "semantic": "1.1.0",
        "content_hash": "c1.1.0",
    }
    assert (previous["version"], previous["backup_path"]) == (1, "previous")
    text = (releases.home / "version.json").read_text()
    assert text.startswith('{\n  "current_version": 2,\n')
    assert stat.S_IMODE((releases.home / "version.json").stat().st_mode) == 0o600


def test_a_file_of_the_original_is_read(base: Path) -> None:
    (base / "hello" / "current").mkdir(parents=True)
    (base / "hello" / "version.json").write_text(
        '{"current_version":3,"current":{"version":3,"deployed_at":"2026-01-02T03:04:05.123456789Z",'
        '"bundle_hash":"abc","backup_path":"current"}}'
    )
    release = Releases(base, "hello").current()
    assert release is not None
    assert (release.number, release.bundle_hash, release.semantic) == (3, "abc", "")
    assert release.deployed_at == pytest.approx(1767323045.123456)
    assert not (base / "hello" / "current").is_symlink()


def test_two_releases_are_kept_and_older_ones_go(base: Path) -> None:
    releases = Releases(base, "hello")
    made = [install(base, releases, f"1.{n}.0") for n in range(4)]
    assert [release.number for release in made] == [1, 2, 3, 4]
    assert releases.current() == made[3]
    assert releases.previous() == made[2]
    releases.place(extracted(base), semantic="2", bundle_hash="", content_hash="")
    assert sorted(path.name for path in (releases.home / "releases").iterdir()) == ["3", "4", "5"]


def test_a_placed_release_is_not_current_until_it_is_committed(base: Path) -> None:
    releases = Releases(base, "hello")
    first = install(base, releases)
    second = releases.place(extracted(base), semantic="2.0.0", bundle_hash="b", content_hash="c")
    assert second.path.is_dir()
    assert releases.current() == first
    releases.commit(second)
    assert releases.current() == second
    assert releases.previous() == first
    releases.commit(second)  # again is the same
    assert releases.previous() == first


def test_as_many_old_releases_are_kept_as_are_asked_for(base: Path) -> None:
    releases = Releases(base, "hello", keep=3)
    made = [install(base, releases, f"1.{n}.0") for n in range(6)]
    assert releases.kept() == [made[5], made[4], made[3], made[2]]
    assert {path.name for path in (releases.home / "releases").iterdir()} == {"3", "4", "5", "6"}
    fewer = Releases(base, "hello", keep=1)
    last = install(base, fewer, "2.0.0")
    assert fewer.kept() == [last, made[5]]
    assert {path.name for path in (releases.home / "releases").iterdir()} == {"6", "7"}


def test_a_rollback_and_again_forward(base: Path) -> None:
    releases = Releases(base, "hello", keep=3)
    first, second, third = (install(base, releases, f"{n}.0.0") for n in (1, 2, 3))
    assert releases.rollback_target() == second
    assert releases.roll_back() == second
    assert (releases.current(), releases.previous()) == (second, third)
    assert (releases.home / "current").readlink().as_posix() == "releases/2"
    assert (releases.home / "previous").readlink().as_posix() == "releases/3"
    assert releases.roll_back() == third
    assert releases.roll_back(1) == first
    assert releases.kept() == [first, third, second]
    fourth = install(base, releases, "4.0.0")
    assert fourth.number == 4
    assert releases.kept() == [fourth, first, third, second]


def test_a_rollback_to_what_is_not_there_changes_nothing(base: Path) -> None:
    releases = Releases(base, "hello")
    for target in (None, 1):
        with pytest.raises(RequestError) as caught:
            releases.rollback_target(target)
        assert caught.value.code == "NoPreviousVersion"
    install(base, releases)
    install(base, releases, "2.0.0")
    before = (releases.home / "version.json").read_bytes()
    for number, said in ((2, "is the current one"), (9, "is not kept; releases to roll back to: 1")):
        with pytest.raises(RequestError, match=said) as caught:
            releases.roll_back(number)
        assert (caught.value.status, caught.value.code) == (400, "ReleaseNotFound")
    assert (releases.home / "version.json").read_bytes() == before
    remove_tree(releases.home / "releases" / "1")
    with pytest.raises(StorageError, match="files of release 1 are gone"):
        releases.rollback_target()


def test_a_lost_version_json_costs_no_release(base: Path) -> None:
    releases = Releases(base, "hello")
    install(base, releases)
    (releases.home / "version.json").unlink()
    for action in (releases.recover, releases.current, lambda: install(base, releases)):
        with pytest.raises(StorageError, match="is gone, though there are releases"):
            action()
    assert (releases.home / "releases" / "1" / "app.py").is_file()


def test_what_a_discarded_release_brought_is_taken_back(base: Path) -> None:
    releases = Releases(base, "hello")
    install(base, releases, MUXI_md="live")
    second = releases.place(
        extracted(base, MUXI_md="bundled", memory_db="d"), semantic="2", bundle_hash="", content_hash=""
    )
    assert (second.path / "memory.db").read_text() == "d"
    (releases.state / "memory.db-wal").write_text("made while it was tried")
    releases.discard(second)
    assert {path.name: path.read_text() for path in releases.state.iterdir()} == {"MUXI.md": "live"}


def test_clearing_leaves_a_draft(base: Path) -> None:
    releases = Releases(base, "hello")
    install(base, releases, MUXI_md="x")
    releases.draft.mkdir()
    (releases.draft / "formation.afs").touch()
    releases.clear()
    assert [path.name for path in releases.home.iterdir()] == ["draft"]
    assert releases.recover() is None
    remove_tree(releases.draft)
    releases.clear()
    assert not releases.home.exists()


def test_removing_what_was_never_deployed_leaves_a_draft(base: Path) -> None:
    releases = Releases(base, "hello")
    releases.place(extracted(base, MUXI_md="x"), semantic="1", bundle_hash="", content_hash="")
    releases.draft.mkdir()
    releases.remove()
    assert [path.name for path in releases.home.iterdir()] == ["draft"]
    install(base, releases)
    releases.remove()
    assert not releases.home.exists()


def test_a_commit_that_is_not_synced_is_a_commit(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rename is done: telling the caller otherwise would have it undo what counts already."""

    def not_synced(directory: Path) -> None:
        raise OSError(5, "Input/output error")

    releases = Releases(base, "hello")
    install(base, releases)
    second = releases.place(extracted(base), semantic="2", bundle_hash="", content_hash="")
    with monkeypatch.context() as patch:
        patch.setattr(files, "sync_directory", not_synced)
        releases.commit(second)
    assert releases.current() == second


def test_a_placed_release_can_be_discarded_and_a_committed_one_not(base: Path) -> None:
    releases = Releases(base, "hello")
    first = install(base, releases)
    second = releases.place(extracted(base), semantic="2.0.0", bundle_hash="b", content_hash="c")
    releases.discard(second)
    releases.discard(first)
    assert not second.path.exists()
    assert releases.current() == first
    assert first.path.is_dir()


BEFORE: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before the state is moved": lambda patch: patch.setattr(state_module, "_adopt", crash),
    "before the rename": lambda patch: patch.setattr(releases_module, "adopt_state", crash),
    "after the rename": lambda patch: patch.setattr(Releases, "commit", crash),
    "before version.json": lambda patch: patch.setattr(versions, "save", crash),
}
AFTER: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before the links": lambda patch: patch.setattr(releases_module, "_point", crash),
    "before the seeds are kept": lambda patch: patch.setattr(releases_module, "keep_seeds", crash),
    "before old ones are removed": lambda patch: patch.setattr(releases_module, "remove_tree", crash),
}


class Crash(BaseException):
    pass


def crash(*_: object, **__: object) -> None:
    raise Crash


@pytest.mark.parametrize("place", BEFORE)
@pytest.mark.parametrize("deployed_before", [False, True])
def test_a_crash_before_the_commit_leaves_the_old_release_and_the_next_install_works(
    base: Path, place: str, deployed_before: bool
) -> None:
    releases = Releases(base, "hello")
    before = install(base, releases) if deployed_before else None
    with pytest.MonkeyPatch.context() as patch:
        BEFORE[place](patch)
        with pytest.raises(Crash):
            install(base, releases, "2.0.0", MUXI_md="brought by the new one")
    sweep(workspace(base))
    restarted = Releases(base, "hello")
    assert restarted.recover() == before
    assert not (restarted.state / "MUXI.md").exists()
    kept = {"1"} if deployed_before else set()
    directory = restarted.home / "releases"
    assert {path.name for path in directory.iterdir()} == kept
    if before is not None:
        assert (restarted.home / "current").resolve() == before.path
    after = install(base, restarted, "3.0.0")
    assert after.number == (2 if deployed_before else 1)
    assert restarted.current() == after
    assert restarted.previous() == before


@pytest.mark.parametrize("place", AFTER)
def test_a_crash_after_the_commit_leaves_the_new_release(base: Path, place: str) -> None:
    releases = Releases(base, "hello")
    install(base, releases)
    second = install(base, releases, "2.0.0")
    with pytest.MonkeyPatch.context() as patch:
        AFTER[place](patch)
        with pytest.raises(Crash):
            install(base, releases, "3.0.0", MUXI_md="brought by the new one")
    restarted = Releases(base, "hello")
    found = restarted.recover()
    assert found is not None
    assert found.semantic == "3.0.0"
    assert restarted.previous() == second
    assert (restarted.home / "current").resolve() == found.path
    assert {path.name for path in (restarted.home / "releases").iterdir()} == {"2", "3"}
    assert (found.path / "MUXI.md").read_text() == "brought by the new one"
    assert {path.name for path in restarted.state.iterdir()} == {"MUXI.md"}


def test_a_disk_that_refuses_the_links_does_not_undo_a_commit(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    releases = Releases(base, "hello")
    install(base, releases)
    with monkeypatch.context() as patch:
        patch.setattr(releases_module, "_point", full)
        second = install(base, releases, "2.0.0")
    assert releases.current() == second
    assert (releases.home / "current").readlink().as_posix() == "releases/1"
    assert releases.recover() == second
    assert (releases.home / "current").readlink().as_posix() == "releases/2"


@pytest.mark.parametrize("damage", ["current", "previous"])
def test_links_are_repaired_from_version_json(base: Path, damage: str) -> None:
    releases = Releases(base, "hello")
    install(base, releases)
    install(base, releases, "2.0.0")
    for wrong in (None, "releases/9", "/etc"):
        (releases.home / damage).unlink()
        if wrong is not None:
            (releases.home / damage).symlink_to(wrong)
        releases.recover()
        expected = {"current": "releases/2", "previous": "releases/1"}[damage]
        assert (releases.home / damage).readlink().as_posix() == expected
    assert [path.name for path in releases.home.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"current_version": 1}', '{"current_version":"1","current":{}}',
     '{"current_version":1,"current":{"version":1,"deployed_at":"yesterday","bundle_hash":""}}'],
)  # fmt: skip
def test_a_damaged_version_json_is_said_and_nothing_is_changed(base: Path, text: str) -> None:
    releases = Releases(base, "hello")
    install(base, releases)
    (releases.home / "version.json").write_text(text)
    for action in (releases.current, releases.previous, lambda: install(base, releases)):
        with pytest.raises(StorageError, match=r"version\.json is damaged") as caught:
            action()
        assert caught.value.cure
        assert (releases.home / "version.json").read_text() == text
        assert (releases.home / "releases" / "1" / "app.py").exists()


def test_state_outlives_releases(base: Path) -> None:
    releases = Releases(base, "hello")
    first = install(base, releases, MUXI_md="bundled")
    assert (first.path / "MUXI.md").read_text() == "bundled"
    (first.path / "MUXI.md").write_text("tuned")
    second = install(base, releases, "2.0.0", MUXI_md="bundled anew")
    assert (second.path / "MUXI.md").read_text() == "tuned"
    assert (first.path / "MUXI.md").read_text() == "tuned"
    assert (releases.state / "MUXI.md").read_text() == "tuned"
    assert stat.S_IMODE(releases.state.stat().st_mode) == 0o700
    for name in ("memory.db", "MUXI.md", "PENDING-MUXI.md"):
        assert (second.path / name).readlink().as_posix() == f"../../state/{name}"
    assert not (second.path / "memory.db").exists()  # dangles until somebody writes


def test_a_database_is_one_for_both_releases_while_they_overlap(base: Path) -> None:
    releases = Releases(base, "hello")
    first = install(base, releases)
    with closing(sqlite3.connect(first.path / "memory.db")) as old:
        old.execute("PRAGMA journal_mode=WAL")
        old.execute("CREATE TABLE notes (text)")
        second = install(base, releases, "2.0.0")
        with closing(sqlite3.connect(second.path / "memory.db")) as new:
            old.execute("INSERT INTO notes VALUES ('from the old one')")
            old.commit()
            assert new.execute("SELECT text FROM notes").fetchall() == [("from the old one",)]
        assert (releases.state / "memory.db-wal").exists()
        assert not (second.path / "memory.db-wal").exists()


def test_a_bundled_database_comes_with_its_write_ahead_log(base: Path) -> None:
    releases = Releases(base, "hello")
    root = extracted(base, memory_db="d")
    (root / "memory.db-wal").write_text("w")
    (root / "memory.db-shm").write_text("s")
    releases.install(root, semantic="1", bundle_hash="", content_hash="")
    assert {path.name: path.read_text() for path in releases.state.iterdir()} == {
        "memory.db": "d",
        "memory.db-wal": "w",
    }
    root = extracted(base, memory_db="other")
    (root / "memory.db-wal").write_text("of the other")
    second = releases.install(root, semantic="2", bundle_hash="", content_hash="")
    assert (releases.state / "memory.db-wal").read_text() == "w"
    assert (second.path / "memory.db").read_text() == "d"
    assert not (second.path / "memory.db-wal").exists()


def test_a_directory_in_the_place_of_state_is_refused(base: Path) -> None:
    releases = Releases(base, "hello")
    root = extracted(base, MUXI_md="bundled")
    (root / "memory.db").mkdir()
    with pytest.raises(BundleError, match=r"'memory\.db' is a directory"):
        releases.install(root, semantic="1", bundle_hash="", content_hash="")
    assert not any(releases.state.iterdir())
    assert releases.current() is None


def test_removing_takes_everything_and_again_is_fine(base: Path) -> None:
    releases, other = Releases(base, "hello"), Releases(base, "other")
    release = install(base, releases)
    install(base, other)
    (release.path / "locked").mkdir(mode=0o000)
    releases.remove()
    releases.remove()
    assert sorted(path.name for path in base.iterdir()) == [".tmp", "other"]
    assert not any(workspace(base).iterdir())
    assert releases.current() is None
    assert other.current() is not None
    assert install(base, releases).number == 1


def test_a_crash_while_removing_leaves_no_half(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    releases = Releases(base, "hello")
    install(base, releases)
    with monkeypatch.context() as patch:
        patch.setattr(releases_module, "remove_tree", crash)
        with pytest.raises(Crash):
            releases.remove()
    assert not releases.home.exists()
    assert any(workspace(base).iterdir())
    sweep(workspace(base))
    assert list(workspace(base).iterdir()) == []


def test_what_cannot_be_deleted_is_left_for_the_sweep(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(path: Path) -> None:
        raise OSError(39, "Directory not empty")

    releases = Releases(base, "hello")
    install(base, releases)
    with monkeypatch.context() as patch:
        patch.setattr(releases_module, "remove_tree", busy)
        releases.remove()
    assert releases.current() is None
    assert [path.name.split(".")[0] for path in workspace(base).iterdir()] == ["hello"]


def test_removing_a_tree_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    remove_tree(tmp_path / "tree")
    remove_tree(tmp_path / "link")
    remove_tree(tmp_path / "not there")
    assert {path.name for path in tmp_path.iterdir()} == {"kept"}
    assert (tmp_path / "kept" / "file").exists()


def test_a_tree_with_locked_directories_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "tree" / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    (tmp_path / "tree" / "a" / "link").symlink_to(tmp_path)
    for directory in (inner, inner.parent):
        directory.chmod(0o000)
    modes: list[int] = []
    rmtree = shutil.rmtree

    def as_a_plain_user(path: Path) -> None:  # root is never refused
        modes.append(stat.S_IMODE((tmp_path / "tree" / "a").stat().st_mode))
        if modes == [0]:
            raise PermissionError
        rmtree(path)

    monkeypatch.setattr(shutil, "rmtree", as_a_plain_user)
    remove_tree(tmp_path / "tree")
    assert modes == [0o000, 0o700]
    assert tmp_path.exists()
    assert not any(tmp_path.iterdir())


def test_a_sweep_makes_the_workspace(base: Path) -> None:
    sweep(workspace(base))
    assert stat.S_IMODE(workspace(base).stat().st_mode) == 0o700


def test_a_disk_that_refuses(base: Path) -> None:
    base.parent.mkdir(exist_ok=True)
    base.write_text("a file where the directory should be")
    with pytest.raises(StorageError) as caught:
        Releases(base, "hello").place(base.parent, semantic="", bundle_hash="", content_hash="")
    assert caught.value.cure
