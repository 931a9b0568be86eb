from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from muxi.config.model import BundleLimits, DraftLimits
from muxi.errors import BundleError, Conflict, MuxiError, NotFound, RequestError, StorageError, TooLarge
from muxi.formation import inside
from muxi.formation.drafts import META, Draft
from muxi.formation.inside import clean_path
from muxi.formation.manifest import read_manifest
from muxi.formation.releases import Releases, workspace

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = DraftLimits(max_file_size=100, max_total_size=4000, max_files=20)


def go_on() -> None:
    """Nobody cancels."""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "formations"


@pytest.fixture
def releases(base: Path) -> Releases:
    return Releases(base, "hello")


@pytest.fixture
def draft(releases: Releases, base: Path) -> Draft:
    draft = Draft(releases, workspace(base), LIMITS)
    draft.create()
    return draft


def deployed(releases: Releases, base: Path, **files: str) -> None:
    root = workspace(base) / "extracted"
    root.mkdir(parents=True)
    (root / "formation.afs").write_text("id: hello\ncommand: [x]\n")
    for name, content in files.items():
        (root / name.replace("_", ".")).write_text(content)
    releases.install(root, semantic="1.1.0", bundle_hash="b", content_hash="c")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_template_can_be_deployed_as_it_is(draft: Draft, base: Path) -> None:
    manifest = read_manifest(draft.root)
    assert (manifest.id, manifest.version, manifest.kind) == ("hello", "1.0.0", "native")
    assert manifest.description
    bundle = draft.copy(workspace(base) / "copied", BundleLimits(), go_on)
    assert sorted(path.name for path in bundle.root.iterdir()) == ["app.py", "formation.afs"]
    assert draft.root.is_dir()
    compile((draft.root / "app.py").read_text(), "app.py", "exec")


def test_what_a_new_draft_says_of_itself(draft: Draft, releases: Releases) -> None:
    meta = json.loads((draft.root / META).read_text())
    assert set(meta) == {"created_at"}
    found = draft.meta()
    assert found is not None
    assert found.base_version is None
    assert not found.drifted(None)
    with pytest.raises(Conflict, match="has a draft already"):
        draft.create()
    assert mode(releases.home) == 0o700


def test_a_clone_has_the_files_and_the_tuning_but_not_the_database(releases: Releases, base: Path) -> None:
    deployed(releases, base, app_py="x", MUXI_md="tuned", memory_db="rows", secrets_enc="s")
    current = releases.current()
    assert current is not None
    (current.path / "link").symlink_to("/etc/passwd")
    draft = Draft(releases, workspace(base), LIMITS)
    draft.clone(BundleLimits(), go_on)
    names = {path.name for path in draft.root.iterdir()}
    assert names == {"formation.afs", "app.py", "MUXI.md", "secrets.enc", META}
    assert (draft.root / "MUXI.md").read_text() == "tuned"
    assert not (draft.root / "MUXI.md").is_symlink()
    assert mode(draft.root / "secrets.enc") == 0o600
    meta = draft.meta()
    assert meta is not None
    assert (meta.base_version, meta.base_release) == ("1.1.0", 1)
    assert not meta.drifted(current)
    deployed(releases, base)
    assert meta.drifted(releases.current())


def test_the_manifest_is_not_read_through_a_link(draft: Draft, base: Path) -> None:
    assert draft.manifest().id == "hello"
    (base.parent / "outside").write_text("root:x:0:0")
    draft.delete("formation.afs")
    (draft.root / "formation.afs").symlink_to(base.parent / "outside")
    with pytest.raises(RequestError) as caught:
        draft.manifest()
    assert caught.value.code == "InvalidPath"
    draft.delete("formation.afs")
    with pytest.raises(RequestError, match="Formation config not found"):
        draft.manifest()


def test_a_clone_takes_nothing_that_the_state_only_links_to(releases: Releases, base: Path) -> None:
    deployed(releases, base)
    (base.parent / "outside").write_text("not yours")
    (releases.state / "MUXI.md").symlink_to(base.parent / "outside")
    draft = Draft(releases, workspace(base), LIMITS)
    draft.clone(BundleLimits(), go_on)
    assert {path.name for path in draft.root.iterdir()} == {"formation.afs", META}


def test_a_draft_of_the_original_drifts_by_its_version(draft: Draft, releases: Releases, base: Path) -> None:
    deployed(releases, base)
    for version, drifted in (("1.1.0", False), ("1.0.0", True)):
        (draft.root / META).write_text(json.dumps({"base_version": version, "created_at": "x"}))
        meta = draft.meta()
        assert meta is not None
        assert meta.drifted(releases.current()) is drifted
    (draft.root / META).write_text("damaged")
    assert draft.meta() is not None


def test_there_is_nothing_to_clone(releases: Releases, base: Path) -> None:
    with pytest.raises(NotFound) as caught:
        Draft(releases, workspace(base), LIMITS).clone(BundleLimits(), go_on)
    assert caught.value.code == "LiveNotFound"
    assert not releases.home.exists()


def test_listing(draft: Draft) -> None:
    draft.write("agents/one.afs", b"id: one")
    draft.write("empty", b"")
    (draft.root / "nothing").mkdir()
    (draft.root / "link").symlink_to("/etc")
    path, entries = draft.list("/")
    assert path == "."
    found = {entry.name: (entry.kind, entry.size) for entry in entries}
    assert found.pop("app.py")[0] == found.pop("formation.afs")[0] == "file"
    assert found == {
        "agents": ("dir", None),
        "empty": ("file", 0),
        "link": ("link", None),
        "nothing": ("dir", None),
    }
    assert draft.list("nothing") == ("nothing", [])
    path, entries = draft.list("/agents/../agents/")
    assert (path, [entry.name for entry in entries]) == ("agents", ["one.afs"])
    for missing in ("nobody", "agents/two"):
        with pytest.raises(NotFound) as caught:
            draft.list(missing)
        assert caught.value.code == "FileNotFound"
    for wrong in ("empty", "link"):
        with pytest.raises(RequestError, match="is not a directory"):
            draft.list(wrong)


def test_writing_and_reading(draft: Draft) -> None:
    assert draft.write("/deep/er/file.txt", b"one") == "deep/er/file.txt"
    assert draft.write("deep/er/file.txt", b"two \xff") == "deep/er/file.txt"
    assert draft.read("./deep//er/file.txt") == ("deep/er/file.txt", b"two \xff")
    assert [path.name for path in (draft.root / "deep" / "er").iterdir()] == ["file.txt"]
    for name in ("secrets.enc", ".key", ".env", "agents/.env.local"):
        draft.write(name, b"secret")
        assert mode(draft.root / name) == 0o600
    (draft.root / "run.sh").write_text("")
    (draft.root / "run.sh").chmod(0o700)
    draft.write("run.sh", b"#!/bin/sh")
    assert mode(draft.root / "run.sh") == 0o755
    assert mode(draft.root / "deep" / "er" / "file.txt") == 0o644


def test_deleting(draft: Draft, base: Path) -> None:
    draft.write("agents/deep/one.afs", b"x")
    (draft.root / "agents" / "out").symlink_to(base.parent)
    (base.parent / "kept").touch()
    assert draft.delete("/agents/") == "agents"
    assert not (draft.root / "agents").exists()
    assert (base.parent / "kept").exists()
    (draft.root / "link").symlink_to(base.parent / "kept")
    draft.delete("link")
    assert not (draft.root / "link").is_symlink()
    assert (base.parent / "kept").exists()
    assert list(workspace(base).iterdir()) == []
    with pytest.raises(NotFound):
        draft.delete("agents")


def test_discarding(draft: Draft, releases: Releases) -> None:
    draft.discard()
    assert draft.meta() is None
    assert list(releases.home.iterdir()) == []
    for action in (
        draft.discard,
        lambda: draft.list(""),
        lambda: draft.read("x"),
        lambda: draft.write("x", b""),
        lambda: draft.delete("x"),
        draft.fingerprint,
    ):
        with pytest.raises(NotFound) as caught:
            action()
        assert caught.value.code == "DraftNotFound"
    draft.create()


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../x",
        "a/../../x",
        "..x",
        "a\\b",
        "a\0b",
        "a\nb",
        "\ud800",
        "x" * 256,
        "a/" * 101 + "b",
        "y/" * 600,
    ],
)
def test_paths_that_are_refused(draft: Draft, path: str) -> None:
    for action in (draft.list, draft.read, draft.delete, lambda path: draft.write(path, b"x")):
        with pytest.raises(RequestError) as caught:
            action(path)
        assert (caught.value.status, caught.value.code) == (400, "InvalidPath")
    assert {entry.name for entry in draft.list("")[1]} == {"app.py", "formation.afs"}


@pytest.mark.parametrize("path", ["", ".", "/", "a/..", META, f"./{META}"])
def test_the_top_and_what_is_ours_are_no_files(draft: Draft, path: str) -> None:
    before = (draft.root / META).read_bytes()
    for action in (draft.read, draft.delete, lambda path: draft.write(path, b"x")):
        with pytest.raises(RequestError) as caught:
            action(path)
        assert caught.value.code == "InvalidPath"
    assert (draft.root / META).read_bytes() == before


def test_leading_slashes_and_dots_mean_the_top() -> None:
    for path in ("", ".", "/", "//", "/..", "/../", "a/.."):
        assert clean_path(path) == ()
    assert clean_path("/../a//b/./c/") == ("a", "b", "c")


@pytest.mark.parametrize(
    "path", ["out/file", "out/deeper/file", "out", "file-link", "inner/out/file", "pipe"]
)
def test_links_lead_nowhere(draft: Draft, base: Path, path: str) -> None:
    outside = base.parent / "outside"
    (outside / "deeper").mkdir(parents=True)
    for directory in (outside, outside / "deeper"):
        (directory / "file").write_text("not yours")
    (draft.root / "inner").mkdir()
    (draft.root / "out").symlink_to(outside)
    (draft.root / "inner" / "out").symlink_to(outside)
    (draft.root / "file-link").symlink_to(outside / "file")
    os.mkfifo(draft.root / "pipe")
    with pytest.raises(RequestError, match="is not a") as caught:
        draft.read(path)
    assert caught.value.code == "InvalidPath"
    if "/" in path:
        for action in (draft.delete, lambda path: draft.write(path, b"mine")):
            with pytest.raises(RequestError, match="is not a directory"):
                action(path)
    else:
        draft.write(path, b"mine")  # takes the link's own place
        assert (draft.root / path).read_text() == "mine"
        assert not (draft.root / path).is_symlink()
    assert (outside / "file").read_text() == "not yours"
    assert (outside / "deeper" / "file").read_text() == "not yours"


def test_a_directory_that_becomes_a_link_meanwhile_leads_nowhere(
    draft: Draft, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path was good when it was looked at: the directory is exchanged before the file is made."""
    outside = base.parent / "outside"
    outside.mkdir()
    draft.write("agents/one", b"x")
    open_directory = inside._open_directory

    def exchange(parent: int, name: str, make: bool) -> int:
        opened = open_directory(parent, name, make)
        (draft.root / "agents").rename(draft.root / "moved")
        (draft.root / "agents").symlink_to(outside)
        return opened

    monkeypatch.setattr(inside, "_open_directory", exchange)
    draft.write("agents/two", b"y")
    assert list(outside.iterdir()) == []
    assert (draft.root / "moved" / "two").read_text() == "y"


def test_limits(draft: Draft) -> None:
    with pytest.raises(TooLarge, match=r"101.*100.*max_file_size") as caught:
        draft.write("large", b"x" * 101)
    assert (caught.value.status, caught.value.code) == (413, "DraftTooLarge")
    for number in range(18):
        draft.write(f"file{number}", b"")
    with pytest.raises(TooLarge, match="max_files"):
        draft.write("one-more", b"")
    draft.delete("file1")
    draft.write("one-more", b"")


def test_the_sum_is_limited(draft: Draft) -> None:
    (draft.root / "app.py").write_bytes(bytes(3900))
    with pytest.raises(TooLarge, match="max_total_size"):
        draft.write("file", b"x" * 100)


def test_a_file_larger_than_an_answer_is_not_read(draft: Draft) -> None:
    (draft.root / "large").write_bytes(bytes(101))
    with pytest.raises(RequestError) as caught:
        draft.read("large")
    assert (caught.value.status, caught.value.code) == (413, "FileTooLarge")


def test_a_draft_with_a_link_is_not_deployed_and_stays(draft: Draft, base: Path) -> None:
    (draft.root / "link").symlink_to("app.py")
    with pytest.raises(BundleError, match="'link' is a symbolic link"):
        draft.copy(workspace(base) / "copied", BundleLimits(), go_on)
    assert not (workspace(base) / "copied").exists()
    assert (draft.root / "app.py").is_file()


def test_any_edit_changes_the_fingerprint(draft: Draft) -> None:
    seen = [draft.fingerprint()]
    draft.write("new", b"1")
    seen.append(draft.fingerprint())
    draft.write("new", b"2")
    seen.append(draft.fingerprint())
    draft.delete("new")
    seen.append(draft.fingerprint())
    assert seen[0] == seen[3]
    assert len(set(seen)) == 3


@pytest.mark.parametrize("call", ["open", "fsync", "rename", "mkdir"])
def test_a_disk_that_refuses_leaves_the_old_file(
    draft: Draft, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    draft.write("file", b"old")
    original = getattr(os, call)

    def full(*arguments: object, **more: object) -> object:
        if call == "open" and not int(str(arguments[1])) & os.O_CREAT:
            return original(*arguments, **more)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(MuxiError) as caught:
            draft.write("file" if call != "mkdir" else "directory/file", b"new")
    assert isinstance(caught.value, StorageError)
    assert caught.value.status == 507
    assert draft.read("file") == ("file", b"old")
    assert not any(workspace(draft.root.parent.parent).iterdir())
    assert {path.name for path in draft.root.iterdir()} == {"app.py", "file", "formation.afs", META}
