from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from muxi.errors import StorageError
from muxi.formation.releases import Releases, sweep, workspace
from muxi.formation.takeover import choose, take_over
from muxi.registry import store
from tests.formation.killing import Killed, killing_at

if TYPE_CHECKING:
    from pathlib import Path

HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Give the data of an original server: one formation updated twice, and one stopped."""
    original(tmp_path)
    return tmp_path / "formations"


def original(data: Path) -> None:
    hello = data / "formations" / "hello"
    write(
        hello / "current",
        {
            "formation.afs": "id: hello\nversion: 1.2.0\ncommand: [x]\n",
            "app.py": "new",
            "memory.db": "live rows",
            "memory.db-wal": "live log",
            "MUXI.md": "tuned",
            "agents/one.afs": "id: one",
        },
    )
    write(hello / "previous", {"formation.afs": "id: hello\nversion: 1.1.0\n", "memory.db": "older rows"})
    write(hello / "staging", {"formation.afs": "id: hello"})
    write(hello / "draft", {"formation.afs": "id: hello", ".draft-meta.json": '{"base_version":"1.1.0"}'})
    version = {
        "current_version": 3,
        "previous_version": 2,
        "current": entry(3, HASH, "current"),
        "previous": entry(2, "aa", "previous"),
    }
    (hello / "version.json").write_text(json.dumps(version, indent=2))
    write(data / "formations" / "other" / "current", {"formation.afs": "id: other\n"})
    (data / "formations" / "other" / "version.json").write_text(
        json.dumps({"current_version": 1, "current": entry(1, "bb", "current")})
    )
    registry = {
        "version": 1,
        "saved_at": "2026-03-04T05:06:07.123456789+01:00",
        "formations": [
            record("hello", 8001, "running", version={"semantic": "1.2.0", "current": HASH}),
            record("other", 8002, "stopped", version="1.0.0"),
        ],
    }
    (data / "registry.json").write_text(json.dumps(registry))


def entry(number: int, bundle_hash: str, path: str) -> dict[str, object]:
    deployed = f"2026-03-0{number}T04:05:06.123456789+01:00"
    return {"version": number, "deployed_at": deployed, "bundle_hash": bundle_hash, "backup_path": path}


def record(formation_id: str, port: int, status: str, **more: object) -> dict[str, object]:
    return {
        "id": formation_id,
        "name": formation_id.title(),
        "process_id": f"{formation_id}-staging",
        "port": port,
        "status": status,
        "staging_port": 8009,
        "deploying": True,
        "config_path": "",
        "command": "",
        "args": None,
        "started_at": "2026-03-04T05:00:00+01:00",
        "deployed_at": "2026-03-03T05:00:00+01:00",
        "restart_count": 4,
        "last_health_check": "0001-01-01T00:00:00Z",
        "healthy": True,
        **more,
    }


def write(directory: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(content)


def start(base: Path) -> None:
    """Do what the server does at its start, as far as the disk is concerned."""
    take_over(base, base.parent / "registry.json")
    for formation_id in store.load(base.parent / "registry.json").records:
        Releases(base, formation_id).recover()
    sweep(workspace(base))


def tree(base: Path) -> dict[str, str]:
    """Return every file and link below the data directory; backups without the times in their names."""
    found = {}
    for path in sorted(base.parent.rglob("*")):
        name = path.relative_to(base.parent).as_posix()
        if "/.backup/" in name:
            parts = name.split("/")
            parts[2] = parts[2].partition(".")[0]
            name = "/".join(parts)
        if path.is_symlink():
            found[name] = f"-> {path.readlink().as_posix()}"
        elif path.is_file():
            found[name] = path.read_text()
    registry = found.pop("registry.json")
    found["registry.json"] = registry.replace(str(json.loads(registry)["saved_at"]), "NOW")
    return found


def test_everything_is_found_again(base: Path) -> None:
    start(base)
    hello = Releases(base, "hello")
    current, previous = hello.recover(), hello.previous()
    assert current is not None
    assert previous is not None
    assert (current.number, current.semantic, current.bundle_hash) == (3, "1.2.0", HASH)
    assert (previous.number, previous.semantic, previous.bundle_hash) == (2, "1.1.0", "aa")
    assert (current.path / "app.py").read_text() == "new"
    assert (current.path / "agents" / "one.afs").read_text() == "id: one"
    assert (hello.home / "current").readlink().as_posix() == "releases/3"
    state = {path.name: path.read_text() for path in hello.state.iterdir()}
    assert state == {"memory.db": "live rows", "memory.db-wal": "live log", "MUXI.md": "tuned"}
    assert (previous.path / "memory.db").read_text() == "live rows"  # one state for all releases
    assert (hello.draft / ".draft-meta.json").read_text() == '{"base_version":"1.1.0"}'
    assert not (hello.home / "staging").exists()
    other = Releases(base, "other").recover()
    assert other is not None
    assert (other.number, other.semantic) == (1, "1.0.0")


def test_the_registry_is_found_again(base: Path) -> None:
    before = (base.parent / "registry.json").read_bytes()
    start(base)
    assert (base.parent / "registry.json.v1").read_bytes() == before
    records = store.load(base.parent / "registry.json").records
    assert set(records) == {"hello", "other"}
    hello = records["hello"]
    assert (hello.name, hello.port, hello.semantic, hello.bundle_hash) == ("Hello", 8001, "1.2.0", HASH)
    assert (hello.stopped, hello.restart_count, hello.process) == (False, 4, None)
    assert hello.created_at == pytest.approx(1772510400.0)
    assert hello.updated_at == pytest.approx(1772596800.0)
    assert (records["other"].stopped, records["other"].bundle_hash) == (True, "bb")


def test_what_is_changed_is_kept(base: Path) -> None:
    version_json = (base / "hello" / "version.json").read_text()
    start(base)
    (backup,) = (path for path in (base / ".backup").iterdir() if path.name.startswith("hello."))
    assert (backup / "version.json").read_text() == version_json
    assert (backup / "current" / "memory.db").read_text() == "live rows"
    assert (backup / "previous" / "memory.db").read_text() == "older rows"
    assert (backup / "staging" / "formation.afs").read_text() == "id: hello"


def test_a_second_start_changes_nothing(base: Path) -> None:
    start(base)
    Releases(base, "hello").recover()
    before = tree(base)
    start(base)
    assert tree(base) == before


def steps_of(data: Path) -> int:
    original(data)
    with pytest.MonkeyPatch.context() as patch:
        count = killing_at(1_000_000, patch)
        start(data / "formations")
        return count()


def test_killed_at_any_step_and_started_again_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # hundreds of them; what counts is their places
    original(tmp_path / "whole")
    start(tmp_path / "whole" / "formations")
    expected = without_backups(tree(tmp_path / "whole" / "formations"))
    assert len(expected) > 10
    most = steps_of(tmp_path / "count")
    assert most > 40
    for step in range(1, most + 1):
        data = tmp_path / f"killed-{step}"
        original(data)
        with pytest.MonkeyPatch.context() as patch:
            killing_at(step, patch)
            with pytest.raises(Killed):
                start(data / "formations")
        start(data / "formations")
        found = tree(data / "formations")
        assert without_backups(found) == expected, f"killed before change {step}"
        backups = {name: content for name, content in found.items() if "/.backup/" in name}
        assert "live rows" in backups.values()
        shutil.rmtree(data)


def without_backups(found: dict[str, str]) -> dict[str, str]:
    """A start that dies early may leave a second backup, or a part of one."""
    return {name: content for name, content in found.items() if "/.backup/" not in name}


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ("current previous", ("current", "previous")),
        ("current previous staging", ("current", "previous")),
        ("current staging", ("current", None)),
        ("previous staging", ("previous", None)),  # update: current has become previous
        ("temp previous", ("temp", "previous")),  # rollback: current has become temp
        ("temp current", ("temp", "current")),  # rollback: previous has become current
        ("current previous temp", ("current", "previous")),  # a leftover
        ("temp", ("temp", None)),
        ("staging draft", None),
        ("releases state", None),
        ("", None),
    ],
)
def test_a_swap_that_was_cut_off(names: str, chosen: object) -> None:
    assert choose(set(names.split())) == chosen


def test_a_rollback_that_was_cut_off_keeps_what_was_current(base: Path) -> None:
    (base / "hello" / "current").rename(base / "hello" / "temp")
    (base / "hello" / "previous").rename(base / "hello" / "current")
    start(base)
    current = Releases(base, "hello").recover()
    assert current is not None
    assert (current.number, current.semantic) == (3, "1.2.0")
    assert (Releases(base, "hello").state / "memory.db").read_text() == "live rows"


@pytest.mark.parametrize("text", [None, "", "{", '{"current_version": 0}'])
def test_without_a_sound_version_json_the_directories_count(base: Path, text: str | None) -> None:
    path = base / "hello" / "version.json"
    path.unlink() if text is None else path.write_text(text)
    start(base)
    found = Releases(base, "hello").kept()
    assert [(release.number, release.semantic) for release in found] == [(2, "1.2.0"), (1, "1.1.0")]
    assert all(release.path.is_dir() for release in found)


def test_a_manifest_that_cannot_be_read_is_no_reason_to_lose_a_formation(base: Path) -> None:
    (base / "hello" / "current" / "formation.afs").write_text(": not yaml")
    (base / "hello" / "current" / "MUXI.md").unlink()
    (base / "hello" / "current" / "MUXI.md").mkdir()
    start(base)
    current = Releases(base, "hello").recover()
    assert current is not None
    assert (current.number, current.semantic) == (3, "")


def test_strangers_among_the_formations_are_left_alone(base: Path) -> None:
    write(base / "Not_An_Id" / "current", {"x": "1"})
    (base / "a-file").write_text("x")
    (base / "linked").symlink_to(base / "other")
    start(base)
    assert (base / "Not_An_Id" / "current" / "x").read_text() == "1"
    assert (base / "a-file").read_text() == "x"


def test_a_full_disk_is_said_and_the_next_start_goes_on(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy2", full)
        with pytest.raises(StorageError, match="No space left"):
            start(base)
    assert (base / "hello" / "current" / "memory.db").read_text() == "live rows"
    start(base)
    assert Releases(base, "hello").recover() is not None


@pytest.mark.parametrize(
    "text", ['{"version": 1, "formations": [{"port": 1}]}', '{"version": 1, "formations": 3}']
)
def test_a_damaged_registry_is_said_and_left(base: Path, text: str) -> None:
    registry = base.parent / "registry.json"
    registry.write_text(text)
    with pytest.raises(StorageError, match="of an earlier server and damaged"):
        start(base)
    assert registry.read_text() == text


def test_a_registry_of_ours_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "formations").mkdir()
    registry = tmp_path / "registry.json"
    for text in ('{"version": 2, "saved_at": 0, "formations": []}', "{damaged"):
        registry.write_text(text)
        take_over(tmp_path / "formations", registry)
        assert registry.read_text() == text
        assert not (tmp_path / "registry.json.v1").exists()
