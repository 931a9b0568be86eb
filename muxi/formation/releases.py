"""A formation's releases on disk, and which of them is the current one.

    formations/{id}/releases/{n}/   a release; its path never changes, so a process keeps its files
    formations/{id}/current         link to the current release; `previous` likewise
    formations/{id}/version.json    the commit point: what it says is so, the links follow it
    formations/{id}/state/          what outlives releases: the database and the tuning files
    formations/.tmp/                uploads, extractions, what is being removed: swept at start-up

A release is *placed* (a whole directory, renamed in) and later *committed*. A crash before the
commit leaves the old release current and a placed one nobody refers to, which the next placing
removes. Everything here blocks; the formation's own task calls it, in a thread, one at a time.
"""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from muxi.files import PRIVATE_DIRECTORY, sync_directory
from muxi.formation import versions
from muxi.formation.disk import disk_work, remove_tree
from muxi.formation.state import adopt_state
from muxi.formation.versions import VersionEntry, VersionFile

if TYPE_CHECKING:
    from pathlib import Path

_log = structlog.get_logger()


def workspace(base: Path) -> Path:
    """Where uploads and extractions of the formations below `base` go: the same file system.

    No id begins with a dot, so it is never a formation's directory.
    """
    return base / ".tmp"


def sweep(tmp: Path) -> None:
    """Remove what an earlier run of the server left in its workspace. Raises StorageError."""
    with disk_work("clear its temporary files"):
        tmp.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        for leftover in tmp.iterdir():
            remove_tree(leftover)


@dataclass(frozen=True, slots=True)
class Release:
    """One release. `number` counts deployments from 1, `semantic` is the manifest's version.

    `bundle_hash` is the SHA-256 of the uploaded bytes, `content_hash` that of the files in them
    (`Bundle.content_hash`), both in hex; empty where an older server did not record it.
    `deployed_at` is Unix time in seconds.
    """

    number: int
    path: Path
    semantic: str
    bundle_hash: str
    content_hash: str
    deployed_at: float


class Releases:
    """The releases of one formation below `base`, the directory of all formations.

    All methods raise StorageError when the disk refuses or when version.json is not readable.
    """

    def __init__(self, base: Path, formation_id: str) -> None:
        self._base = base
        self.home = base / formation_id
        self.state = self.home / "state"

    def current(self) -> Release | None:
        """Return the committed release, None if there is none, and set the links right."""
        versions_found = self._load()
        if versions_found is None:
            return None
        with disk_work("repair the links of the releases"):
            self._link(versions_found)
        return self._release(versions_found.current)

    def previous(self) -> Release | None:
        """Return the release before the current one, None if there is none."""
        found = self._load()
        if found is None or found.previous is None:
            return None
        return self._release(found.previous)

    def install(self, extracted_root: Path, *, semantic: str, bundle_hash: str, content_hash: str) -> Release:
        """Place a release and commit it at once; see `place` and `commit`."""
        release = self.place(
            extracted_root, semantic=semantic, bundle_hash=bundle_hash, content_hash=content_hash
        )
        self.commit(release)
        return release

    def place(self, extracted_root: Path, *, semantic: str, bundle_hash: str, content_hash: str) -> Release:
        """Move an extracted bundle to its release directory, not yet the current one.

        `extracted_root` is on the same file system (see `workspace`) and is gone afterwards.
        Raises BundleError when the bundle has a directory where a state file belongs.
        """
        found = self._load()
        now = datetime.fromtimestamp(time.time(), UTC)
        with disk_work("store the release"):
            self._make_home()
            self._remove_unreferenced(found)
            path = self._path(_next_number(found))
            adopt_state(extracted_root, self.state)
            extracted_root.rename(path)
            sync_directory(path.parent)
        return Release(
            number=_next_number(found),
            path=path,
            semantic=semantic,
            bundle_hash=bundle_hash,
            content_hash=content_hash,
            deployed_at=now.timestamp(),
        )

    def commit(self, release: Release) -> None:
        """Make a placed release the current one, and the current one the previous."""
        found = self._load()
        entry = VersionEntry(
            version=release.number,
            deployed_at=datetime.fromtimestamp(release.deployed_at, UTC).isoformat(),
            bundle_hash=release.bundle_hash,
            semantic=release.semantic,
            content_hash=release.content_hash,
        )
        updated = versions.committed(found, entry)
        with disk_work("commit the release"):
            self._link(updated)
            versions.save(self.home, updated)

    def discard(self, release: Release) -> None:
        """Remove a placed release that shall not be committed. A committed one is left alone."""
        if release.number in versions.numbers(self._load()):
            return
        with disk_work("remove the release"):
            remove_tree(release.path)

    def remove(self) -> None:
        """Remove the formation with all releases and its state; nothing to remove is fine.

        One rename takes it out of sight, so a crash leaves all of it or none. What can't be
        deleted after that stays in the workspace until the next start-up.
        """
        tmp = workspace(self._base)
        aside = tmp / f"{self.home.name}.{secrets.token_hex(4)}.removed"
        with disk_work("remove the formation's files"):
            if not self.home.exists():
                return
            tmp.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
            self.home.rename(aside)
            sync_directory(self._base)
        try:
            remove_tree(aside)
        except OSError as error:
            _log.warning("formation_files_left", path=str(aside), reason=error.strerror)

    def _load(self) -> VersionFile | None:
        with disk_work("read version.json"):
            return versions.load(self.home)

    def _release(self, entry: VersionEntry) -> Release:
        return Release(
            number=entry.version,
            path=self._path(entry.version),
            semantic=entry.semantic,
            bundle_hash=entry.bundle_hash,
            content_hash=entry.content_hash,
            deployed_at=datetime.fromisoformat(entry.deployed_at).timestamp(),
        )

    def _path(self, number: int) -> Path:
        return self.home / "releases" / str(number)

    def _make_home(self) -> None:
        self._base.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        for directory in (self.home, self.home / "releases", self.state):
            directory.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
            sync_directory(directory.parent)

    def _remove_unreferenced(self, found: VersionFile | None) -> None:
        keep = {str(number) for number in versions.numbers(found)}
        for path in (self.home / "releases").iterdir():
            if path.name not in keep:
                remove_tree(path)

    def _link(self, found: VersionFile) -> None:
        if os.name == "nt":  # links need a privilege there; version.json alone says it
            return
        for name, entry in (("previous", found.previous), ("current", found.current)):
            _point(self.home / name, None if entry is None else f"releases/{entry.version}")
        sync_directory(self.home)


def _next_number(found: VersionFile | None) -> int:
    return max(versions.numbers(found), default=0) + 1


def _point(link: Path, target: str | None) -> None:
    """Swap a link in one step. A real directory of that name (an older server's) is left alone."""
    if link.exists() and not link.is_symlink():
        return
    if target is None:
        link.unlink(missing_ok=True)
    elif not link.is_symlink() or str(link.readlink()) != target:
        temporary = link.with_name(f".{link.name}.{secrets.token_hex(4)}")
        temporary.symlink_to(target)
        temporary.replace(link)
