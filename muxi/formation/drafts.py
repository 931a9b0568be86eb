"""A formation's draft: files below `formations/{id}/draft` that are edited, and then deployed.

Each change is one step on the disk (a rename), so changes by several clients need no order among
themselves: whoever is last wins, and nobody sees half a file. What the draft was made of is
in `.draft-meta.json` (http-api.md 1.6), by which drift of the live formation is noticed.
Everything here blocks; nothing follows a link (`muxi.formation.inside`).
"""

from __future__ import annotations

import errno
import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from muxi.errors import Conflict, NotFound, RequestError, TooLarge
from muxi.files import PRIVATE_DIRECTORY, PRIVATE_FILE, atomic_write, sync_directory
from muxi.formation import inside
from muxi.formation.bundle import gather
from muxi.formation.disk import disk_work, remove_tree, storage_error
from muxi.formation.inside import Entry, bad_path, clean_path
from muxi.formation.manifest import FILE_NAMES, parse_manifest, read_manifest
from muxi.formation.releases import move_away
from muxi.formation.state import DATABASE, SIDES, TUNING_FILES
from muxi.formation.template import new_formation
from muxi.formation.tree import TreeReader, fingerprint
from muxi.formation.yaml_tree import MAX_SIZE
from muxi.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from muxi.config.model import BundleLimits, DraftLimits
    from muxi.formation.bundle import Bundle
    from muxi.formation.manifest import Manifest
    from muxi.formation.releases import Release, Releases

META = ".draft-meta.json"
_OURS = frozenset({META}).__contains__
_NOT_CLONED = frozenset({DATABASE, *SIDES, META, *TUNING_FILES}).__contains__


class DraftMeta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a draft was made of: the version and the release number that were live then, if any."""

    base_version: str | None = None
    created_at: str | None = None
    base_release: int | None = None

    def drifted(self, live: Release | None) -> bool:
        """Say whether another release is live than the draft was made of."""
        if live is None:
            return self.base_version is not None
        if self.base_release is not None:
            return self.base_release != live.number
        return self.base_version is not None and self.base_version != live.semantic


@dataclass(frozen=True, slots=True)
class Stat:
    """A draft as a whole: the number of its files and directories, and their bytes."""

    files: int
    size: int


class Draft:
    """The draft of one formation, there or not. All methods but `meta` raise StorageError."""

    def __init__(self, releases: Releases, tmp: Path, limits: DraftLimits) -> None:
        self._releases = releases
        self._tmp = tmp
        self._limits = limits
        self.root = releases.draft

    def meta(self) -> DraftMeta | None:
        """Return what the draft was made of; None if there is no draft."""
        if not self._exists():
            return None
        try:
            return msgspec.json.decode((self.root / META).read_bytes(), type=DraftMeta)
        except (OSError, msgspec.MsgspecError):
            return DraftMeta()

    def create(self) -> None:
        """Begin a draft of a new formation. Raises Conflict (DraftAlreadyExists)."""

        def fill(root: Path) -> None:
            for name, content in new_formation(self._releases.home.name).items():
                inside.write_file(root, (name,), content.encode(), self._tmp)

        self._make(DraftMeta(created_at=rfc3339(time.time())), fill)

    def clone(self, limits: BundleLimits, check_cancelled: Callable[[], None]) -> None:
        """Begin a draft with the files of the current release; the database is not copied.

        Raises NotFound (LiveNotFound), Conflict (DraftAlreadyExists).
        """
        live = self._releases.current()
        if live is None:
            raise NotFound(
                f"There is no deployed formation '{self._releases.home.name}' to make a draft of.",
                code="LiveNotFound",
                cure="Begin a new one (mode: new).",
            )

        def fill(root: Path) -> None:
            root.rmdir()  # made by `gather`
            gather(TreeReader(live.path, _NOT_CLONED, only_plain=True), root, limits, check_cancelled)
            for entry in inside.list_directory(self._releases.state, ()):
                if entry.name in TUNING_FILES and entry.kind == "file":
                    parts = (entry.name,)
                    data = inside.read_file(self._releases.state, parts, self._limits.max_file_size)
                    inside.write_file(root, parts, data, self._tmp)

        meta = DraftMeta(
            base_version=live.semantic, created_at=rfc3339(time.time()), base_release=live.number
        )
        self._make(meta, fill)

    def list(self, path: str) -> tuple[str, list[Entry]]:
        """Return the path cleaned (`.` for the top) and what is there. Raises NotFound, RequestError."""
        parts = clean_path(path)
        with self._work("list the draft"):
            entries = inside.list_directory(self.root, parts)
        return "/".join(parts) or ".", [entry for entry in entries if parts or entry.name != META]

    def read(self, path: str) -> tuple[str, bytes]:
        """Return the path cleaned and the file's bytes. Raises NotFound, RequestError."""
        parts = self._file(path)
        with self._work("read the draft"):
            return "/".join(parts), inside.read_file(self.root, parts, self._limits.max_file_size)

    def write(self, path: str, data: bytes) -> str:
        """Make or replace a file and return its path cleaned. Raises RequestError, TooLarge."""
        parts = self._file(path)
        with self._work("write to the draft"):
            self._check_limits(len(data))
            self._tmp.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            inside.write_file(self.root, parts, data, self._tmp)
        return "/".join(parts)

    def delete(self, path: str) -> str:
        """Remove a file, or a directory with all below it, and return its path cleaned. Raises NotFound."""
        parts = self._file(path)
        aside = self._tmp / f"draft.{secrets.token_hex(4)}.removed"
        with self._work("delete from the draft"):
            self._tmp.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            inside.move_out(self.root, parts, aside)
            remove_tree(aside)
        return "/".join(parts)

    def manifest(self) -> Manifest:
        """Read the draft's manifest. Raises RequestError (ParseError, InvalidPath), NotFound."""
        with self._work("read the draft"):
            names = [entry.name for entry in inside.list_directory(self.root, ())]
            found = next((name for name in FILE_NAMES if name in names), None)
            if found is None:
                return read_manifest(self.root)  # which says what there should be
            return parse_manifest(inside.read_file(self.root, (found,), MAX_SIZE), found, names)

    def discard(self) -> None:
        """Remove the draft. Raises NotFound (DraftNotFound)."""
        with self._work("remove the draft"):
            move_away(self.root, self._tmp)

    def fingerprint(self) -> object:
        """Return what is equal as long as no file of the draft was changed. Raises NotFound."""
        with self._work("look at the draft"):
            return fingerprint(self.root, _OURS)

    def copy(self, destination: Path, limits: BundleLimits, check_cancelled: Callable[[], None]) -> Bundle:
        """Make a bundle of the draft's files, which stay. Raises NotFound, BundleError."""
        with self._work("copy the draft"):
            return gather(TreeReader(self.root, _OURS), destination, limits, check_cancelled)

    def measure(self) -> Stat:
        """Count what the draft has. Raises NotFound."""
        with self._work("measure the draft"):
            members = list(TreeReader(self.root, _OURS))
        return Stat(len(members), sum(member.size for member in members))

    def _check_limits(self, size: int) -> None:
        """Refuse what would make the draft too large; a file that is replaced counts as well."""
        limits, found = self._limits, self.measure()
        for name, value, most in (
            ("max_file_size", size, limits.max_file_size),
            ("max_total_size", found.size + size, limits.max_total_size),
            ("max_files", found.files + 1, limits.max_files),
        ):
            if value > most:
                raise TooLarge(
                    f"The draft would have {value:,}, more than {most:,} (formations.draft.{name}).",
                    code="DraftTooLarge",
                    cure="Delete what is not needed, or raise the limit.",
                    details={"limit": most},
                )

    def _make(self, meta: DraftMeta, fill: Callable[[Path], None]) -> None:
        partial = self._tmp / f"draft.{secrets.token_hex(4)}"
        with disk_work("make the draft"):
            if self._exists():
                raise self._already()
            partial.mkdir(mode=PRIVATE_DIRECTORY, parents=True)
            try:
                fill(partial)
                atomic_write(partial / META, msgspec.json.encode(meta), PRIVATE_FILE)
                self._releases.home.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
                self._put(partial)
                sync_directory(self._releases.home)
            except BaseException:
                remove_tree(partial)
                raise

    def _put(self, partial: Path) -> None:
        try:
            partial.rename(self.root)
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:  # somebody was faster
                raise self._already() from None
            raise

    @contextmanager
    def _work(self, doing: str) -> Iterator[None]:
        """Say what the disk refused; an OSError where there is no draft means just that."""
        if not self._exists():
            raise self._missing()
        try:
            yield
        except OSError as error:
            if not self._exists():
                raise self._missing() from None
            raise storage_error(error, doing) from error

    def _file(self, path: str) -> inside.Parts:
        parts = clean_path(path)
        if not parts or parts == (META,):
            raise bad_path(path, "is not one of the draft's files")
        return parts

    def _exists(self) -> bool:
        return self.root.is_dir() and not self.root.is_symlink()

    def _already(self) -> RequestError:
        return Conflict(
            f"Formation '{self._releases.home.name}' has a draft already.",
            code="DraftAlreadyExists",
            cure="Deploy it, or discard it.",
        )

    def _missing(self) -> RequestError:
        return NotFound(
            f"Formation '{self._releases.home.name}' has no draft.",
            code="DraftNotFound",
            cure="Begin one with init.",
        )
