"""A formation's releases on disk, and which of them is the current one.

    formations/{id}/releases/{n}/   a release; its path never changes, so a process keeps its files
    formations/{id}/current         link to the current release; `previous` likewise
    formations/{id}/version.json    the commit point: what it says is so, the links follow it
    formations/{id}/state/          what outlives releases: the database and the tuning files
    formations/{id}/draft/          files that are being edited (`muxi.formation.drafts`)
    formations/.tmp/                uploads, extractions, what is being removed: swept at start-up

A release is *placed* (a whole directory, renamed in) and later *committed*, or rolled back to.
Writing version.json is the one step that decides; a crash before it leaves the old release
current and a placed one nobody refers to, which `recover` or the next placing removes; after it
only links and old directories are not yet as they should be. Everything here blocks; the
formation's own task calls it, in a thread, one at a time.
"""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from muxi.errors import StorageError
from muxi.files import PRIVATE_DIRECTORY, sync_directory
from muxi.formation import versions
from muxi.formation.disk import disk_work, remove_temporaries, remove_tree
from muxi.formation.state import adopt_state, keep_seeds, take_back_seeds
from muxi.formation.versions import VersionEntry, VersionFile

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.registry.receipts import Receipt
    from muxi.runtime.pin import Pin

_log = structlog.get_logger()


def workspace(base: Path) -> Path:
    """Where uploads and extractions of the formations below `base` go: the same file system.

    No id begins with a dot, so it is never a formation's directory.
    """
    return base / ".tmp"


def sweep(tmp: Path) -> None:
    """Remove what an earlier run of the server left in its workspace, and homes without anything.

    Raises StorageError.
    """
    with disk_work("clear its temporary files"):
        tmp.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        for leftover in tmp.iterdir():
            remove_tree(leftover)
        for home in tmp.parent.iterdir():
            with suppress(OSError):  # most are not empty, and not to be removed
                if home != tmp:
                    home.rmdir()


def move_away(path: Path, tmp: Path) -> bool:
    """Remove something in one rename, to below `tmp`, and then for good; say whether it was there.

    What can't be deleted once it is out of sight stays in `tmp` until the next start. Raises OSError.
    """
    aside = tmp / f"{path.name}.{secrets.token_hex(4)}.removed"
    tmp.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True, parents=True)
    try:
        path.rename(aside)
    except FileNotFoundError:
        return False
    sync_directory(path.parent)
    try:
        remove_tree(aside)
    except OSError as error:
        _log.warning("formation_files_left", path=str(aside), reason=error.strerror)
    return True


@dataclass(frozen=True, slots=True)
class Release:
    """One release. `number` counts deployments from 1, `semantic` is the manifest's version.

    `bundle_hash` is the SHA-256 of the uploaded bytes, `content_hash` that of the files in them
    (`Bundle.content_hash`), both in hex; empty where an older server did not record it.
    `deployed_at` is Unix time in seconds. `pin` is what it runs on, once that is known.
    """

    number: int
    path: Path
    semantic: str
    bundle_hash: str
    content_hash: str
    deployed_at: float
    pin: Pin | None = None


class Releases:
    """The releases of one formation below `base`, the directory of all formations.

    `keep` is how many old releases stay beside the current one, at least one. All methods raise
    StorageError when the disk refuses or when version.json is not readable.
    """

    def __init__(self, base: Path, formation_id: str, keep: int = 1) -> None:
        self._base = base
        self._keep = keep
        self.home = base / formation_id
        self.state = self.home / "state"
        self.draft = self.home / "draft"

    def recover(self) -> Release | None:
        """Clear away what a killed server left half done, and return the committed release.

        For the start, when no process of an uncommitted release runs any more: removes releases
        that were never committed or are kept no longer, takes back what they brought, mends links.
        """
        found = self._load()
        with disk_work("put the formation's files in order"):
            if self.home.is_dir():
                remove_temporaries(self.home, versions.FILE_NAME, "current", "previous")
            if self.state.is_dir():
                take_back_seeds(self.state, versions.numbers(found))
            self._remove_unreferenced(found)
            if found is not None:
                self._link(found)
        return None if found is None else self._release(found.current)

    def current(self) -> Release | None:
        """Return the committed release, None if there is none. Changes nothing, so anybody may ask."""
        found = self._load()
        return None if found is None else self._release(found.current)

    def previous(self) -> Release | None:
        """Return the release before the current one, None if there is none."""
        found = self._load()
        if found is None or found.previous is None:
            return None
        return self._release(found.previous)

    def kept(self) -> list[Release]:
        """Return all releases that there are: the current one, the previous one, older ones."""
        found = self._load()
        return [] if found is None else [self._release(entry) for entry in found.entries]

    def rollback_target(self, number: int | None = None) -> Release:
        """Return the release that a rollback goes to: `number`, or the previous one.

        Raises RequestError (NoPreviousVersion, ReleaseNotFound) and StorageError where its files are gone.
        """
        release = self._release(versions.rollback_target(self._load(), number))
        if not release.path.is_dir():
            raise StorageError(
                f"The files of release {release.number} are gone.",
                code="ReleaseMissing",
                cure="Deploy that bundle again.",
            )
        return release

    def install(self, extracted_root: Path, *, semantic: str, bundle_hash: str, content_hash: str) -> Release:
        """Place a release and commit it at once; see `place` and `commit`."""
        release = self.place(
            extracted_root, semantic=semantic, bundle_hash=bundle_hash, content_hash=content_hash
        )
        self.commit(release)
        return release

    def place(
        self, extracted_root: Path, *, semantic: str, bundle_hash: str, content_hash: str, key: bool = False
    ) -> Release:
        """Move an extracted bundle to its release directory, not yet the current one.

        `key`: its runtime makes itself one where the bundle has none (`muxi.formation.state`).
        `extracted_root` is on the same file system (see `workspace`) and is gone afterwards.
        Raises BundleError when the bundle has a directory where a state file belongs.
        """
        found = self._load()
        number = max(versions.numbers(found), default=0) + 1
        path = self._path(number)
        now = datetime.fromtimestamp(time.time(), UTC)
        with disk_work("store the release", stage="validating"):
            self._make_home()
            self._remove_unreferenced(found)
            take_back_seeds(self.state, versions.numbers(found))
            try:
                adopt_state(extracted_root, self.state, number, key=key)
                extracted_root.rename(path)
                sync_directory(path.parent)
            except BaseException:
                self._remove_placed(path, found)
                raise
        return Release(
            number=number,
            path=path,
            semantic=semantic,
            bundle_hash=bundle_hash,
            content_hash=content_hash,
            deployed_at=now.timestamp(),
        )

    def commit(self, release: Release, receipt: Receipt | None = None) -> None:
        """Make a placed release the current one, and the current one the previous.

        `receipt` is for the request that asked for this, in case the server dies before it answers.
        Releases beyond those to be kept are removed then. Once version.json says so it is done:
        what the disk refuses after that is logged, and made good at the next start.
        """
        entry = VersionEntry(
            version=release.number,
            deployed_at=datetime.fromtimestamp(release.deployed_at, UTC).isoformat(),
            bundle_hash=release.bundle_hash,
            semantic=release.semantic,
            content_hash=release.content_hash,
            runtime=release.pin,
        )
        self._write(versions.committed(self._load(), entry, self._keep, receipt))

    def roll_back(self, number: int | None = None, receipt: Receipt | None = None) -> Release:
        """Make a kept release the current one, and the current one the previous. None is removed.

        Raises RequestError as `rollback_target`.
        """
        found = versions.rolled_back(self._load(), number, receipt)
        self._write(found)
        return self._release(found.current)

    def roll_back_to(self, release: Release, receipt: Receipt | None = None) -> None:
        """Make this kept release the current one, as `roll_back` does."""
        self.roll_back(release.number, receipt)

    def discard(self, release: Release) -> None:
        """Remove a placed release that shall not be committed. A committed one is left alone."""
        numbers = versions.numbers(self._load())
        if release.number in numbers:
            return
        with disk_work("remove the release"):
            take_back_seeds(self.state, numbers)
            remove_tree(release.path)

    def clear(self) -> None:
        """Remove what a first deploy made that did not come to its end; a draft stays."""
        with disk_work("remove the formation's files"):
            if self.draft.is_dir():
                for name in ("current", "previous", versions.FILE_NAME, "releases", "state"):
                    remove_tree(self.home / name)
            else:
                move_away(self.home, workspace(self._base))

    def clear_unfinished(self) -> None:
        """Remove what a first deploy left that did not even come to a record; a draft, and data, stay."""
        with disk_work("remove the formation's files"):
            if self.state.is_dir():
                take_back_seeds(self.state, ())
            self._remove_unreferenced(self._load())
            for directory in (self.home / "releases", self.state, self.home):
                if directory.is_dir() and not any(directory.iterdir()):
                    directory.rmdir()

    def remove(self) -> None:
        """Remove the formation with all releases, its state and its draft; nothing there is fine.

        One rename takes it out of sight, so a crash leaves all of it or none. What can't be
        deleted after that stays in the workspace until the next start-up. Where no release has been
        committed yet there is no formation to remove, and a draft stays.
        """
        if not (self.home / versions.FILE_NAME).exists():
            self.clear()
            return
        with disk_work("remove the formation's files"):
            move_away(self.home, workspace(self._base))

    def _write(self, updated: VersionFile) -> None:
        """Commit, and then tidy up. Raises StorageError only where version.json is still the old one."""
        with disk_work("commit the release"):
            try:
                versions.save(self.home, updated)
            except OSError:
                # It may be in its place and only not be known to survive a power cut.
                if versions.load(self.home) != updated:
                    raise
        try:
            self._link(updated)
            keep_seeds(self.state)
            self._remove_unreferenced(updated)
        except OSError as error:
            _log.warning("release_not_tidied", formation_id=self.home.name, reason=error.strerror)

    def _load(self) -> VersionFile | None:
        with disk_work("read version.json"):
            found = versions.load(self.home)
            if found is None and (self.home / "current").is_symlink():
                raise StorageError(
                    f"{self.home / versions.FILE_NAME} is gone, though there are releases.",
                    cure="Restore the file from a backup, or delete the formation and deploy it again.",
                )
            return found

    def _release(self, entry: VersionEntry) -> Release:
        return Release(
            number=entry.version,
            path=self._path(entry.version),
            semantic=entry.semantic,
            bundle_hash=entry.bundle_hash,
            content_hash=entry.content_hash,
            deployed_at=datetime.fromisoformat(entry.deployed_at).timestamp(),
            pin=entry.runtime,
        )

    def _path(self, number: int) -> Path:
        return self.home / "releases" / str(number)

    def _make_home(self) -> None:
        self._base.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        for directory in (self.home, self.home / "releases", self.state):
            directory.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
            sync_directory(directory.parent)

    def _remove_placed(self, path: Path, found: VersionFile | None) -> None:
        """Undo a placing that failed on its way; what can't be undone is the next one's to remove."""
        try:
            take_back_seeds(self.state, versions.numbers(found))
            remove_tree(path)
        except OSError as error:
            _log.warning("release_not_tidied", formation_id=self.home.name, reason=error.strerror)

    def _remove_unreferenced(self, found: VersionFile | None) -> None:
        keep = {str(number) for number in versions.numbers(found)}
        directory = self.home / "releases"
        for path in directory.iterdir() if directory.is_dir() else ():
            if path.name not in keep:
                remove_tree(path)

    def _link(self, found: VersionFile) -> None:
        if os.name == "nt":  # links need a privilege there; version.json alone says it
            return
        for name, entry in (("previous", found.previous), ("current", found.current)):
            _point(self.home / name, None if entry is None else f"releases/{entry.version}")
        sync_directory(self.home)


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
