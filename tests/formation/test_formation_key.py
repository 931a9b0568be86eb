"""The key that the MUXI runtime makes for itself: every release of a formation finds the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxi.formation.releases import Releases

if TYPE_CHECKING:
    from pathlib import Path


def place(releases: Releases, root: Path, *, key: bool, bundled: str | None = None) -> Path:
    root.mkdir(parents=True)
    (root / "formation.afs").write_text("id: hello\n")
    if bundled is not None:
        (root / ".key").write_text(bundled)
    release = releases.place(root, semantic="1.0.0", bundle_hash="b", content_hash="c", key=key)
    releases.commit(release)
    return release.path


def test_the_next_release_has_the_key_that_the_first_one_made(tmp_path: Path) -> None:
    releases = Releases(tmp_path / "formations", "hello", 3)
    first = place(releases, tmp_path / "formations" / ".tmp" / "1", key=True)
    assert not (first / ".key").exists()
    (first / ".key").write_text("made by the runtime")
    second = place(releases, tmp_path / "formations" / ".tmp" / "2", key=True)
    assert (second / ".key").read_text() == "made by the runtime"
    assert (releases.state / ".key").read_text() == "made by the runtime"


def test_a_key_in_the_bundle_is_that_releases_own(tmp_path: Path) -> None:
    releases = Releases(tmp_path / "formations", "hello", 3)
    first = place(releases, tmp_path / "formations" / ".tmp" / "1", key=True, bundled="one")
    second = place(releases, tmp_path / "formations" / ".tmp" / "2", key=True, bundled="two")
    assert ((first / ".key").read_text(), (second / ".key").read_text()) == ("one", "two")
    assert not (releases.state / ".key").exists()


def test_other_formations_get_none(tmp_path: Path) -> None:
    releases = Releases(tmp_path / "formations", "hello", 3)
    first = place(releases, tmp_path / "formations" / ".tmp" / "1", key=False)
    assert not (first / ".key").is_symlink()
