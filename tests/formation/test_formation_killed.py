"""The server is killed before each change that an operation makes on the disk, and starts again."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from muxi.config.model import BundleLimits, DraftLimits
from muxi.formation.bundle import extract
from muxi.formation.collect import collect_state
from muxi.formation.drafts import META, Draft
from muxi.formation.releases import Releases, sweep, workspace
from tests.formation.killing import Killed, killing_at, tree
from tests.live import bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEEDS = {"agents/one.txt": "1", "MUXI.md": "of the bundle", "memory.db": "of the bundle"}


@dataclass(frozen=True)
class Place:
    """Formations of which one, `hello`, has two releases, state, and a bundle that is to be the third."""

    directory: Path

    @property
    def base(self) -> Path:
        return self.directory / "formations"

    @property
    def releases(self) -> Releases:
        return Releases(self.base, "hello")

    @property
    def draft(self) -> Draft:
        return Draft(self.releases, workspace(self.base), DraftLimits())

    def copy(self, directory: Path) -> Place:
        shutil.copytree(self.directory, directory, symlinks=True)
        return Place(directory)

    def update(self) -> None:
        extracted = extract(
            self.directory / "bundle.tar.gz",
            workspace(self.base) / "extract",
            BundleLimits(),
            lambda _read: None,
            lambda: None,
        )
        placed = self.releases.place(extracted.root, semantic="3", bundle_hash="h", content_hash="c")
        self.releases.commit(placed)

    def start(self) -> None:
        """Do what a start does with what it finds."""
        sweep(workspace(self.base))
        self.releases.recover()

    def seen(self) -> dict[str, str]:
        """Return what there is; without times."""
        found = tree(self.base)
        found.pop("hello/version.json", None)
        if f"hello/draft/{META}" in found:
            found[f"hello/draft/{META}"] = "…"
        kept = self.releases.kept()
        return found | {"kept": repr([(release.number, release.semantic) for release in kept])}


def prepared(directory: Path) -> Place:
    place = Place(directory)
    directory.mkdir()
    for number in (1, 2):
        (directory / "bundle.tar.gz").write_bytes(bundle("hello", {"which.txt": str(number)}))
        place.update()
    (place.releases.state / "PENDING-MUXI.md").write_text("written by the formation")
    (directory / "bundle.tar.gz").write_bytes(bundle("hello", SEEDS))
    return place


def with_replaced_state(place: Place) -> None:
    release = place.releases.home / "releases" / "2"
    for name in ("MUXI.md", "PENDING-MUXI.md"):
        (release / name).unlink()
        (release / name).write_text("replaced by the app")
        os.utime(release / name, ns=(2**61, 2**61))  # later than anything


def nothing(_place: Place) -> None:
    """There is nothing to be prepared."""


OPERATIONS: dict[str, tuple[Callable[[Place], object], Callable[[Place], object]]] = {
    "update": (nothing, lambda place: place.update()),
    "rollback": (nothing, lambda place: place.releases.roll_back()),
    "remove": (nothing, lambda place: place.releases.remove()),
    "new draft": (nothing, lambda place: place.draft.create()),
    "write to a draft": (
        lambda place: place.draft.create(),
        lambda place: place.draft.write("app.py", b"new"),
    ),
    "delete from a draft": (
        lambda place: place.draft.create(),
        lambda place: place.draft.delete("app.py"),
    ),
    "discard a draft": (lambda place: place.draft.create(), lambda place: place.draft.discard()),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_it_is_as_before_or_as_after(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _fd: None)
    prepare, act = OPERATIONS[name]
    outcomes: list[str] = []
    first = prepared(tmp_path / "first")
    prepare(first)
    place = first.copy(tmp_path / "whole")
    place.start()
    before = place.seen()
    with pytest.MonkeyPatch.context() as patch:
        count = killing_at(1_000_000, patch)
        act(place)
    steps = count()
    place.start()
    after = place.seen()
    assert before != after
    for step in range(1, steps + 1):
        place = first.copy(tmp_path / str(step))
        with pytest.MonkeyPatch.context() as patch:
            killing_at(step, patch)
            with pytest.raises(Killed):
                act(place)
        place.start()
        seen = place.seen()
        assert seen in (before, after), f"killed before change {step} of {steps}"
        outcomes.append("before" if seen == before else "after")
        shutil.rmtree(tmp_path / str(step))
    # What is done is not undone: there is one step from which on it is as after.
    assert outcomes == sorted(outcomes, reverse=True)
    assert "before" in outcomes


def test_collecting_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _fd: None)

    def collect(place: Place) -> None:
        collect_state(place.releases.home / "releases" / "2", place.releases.state)

    first = prepared(tmp_path / "first")
    with_replaced_state(first)
    place = first.copy(tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        count = killing_at(1_000_000, patch)
        collect(place)
    after = place.seen()
    assert (
        place.releases.state.joinpath("replaced", "PENDING-MUXI.md").read_text() == "written by the formation"
    )
    for step in range(1, count() + 1):
        place = first.copy(tmp_path / str(step))
        with pytest.MonkeyPatch.context() as patch:
            killing_at(step, patch)
            with pytest.raises(Killed):
                collect(place)
        collect(place)
        assert place.seen() == after, f"killed before change {step}"
        shutil.rmtree(tmp_path / str(step))
