"""Taking a bundle in: a gzip tar, or a draft, becomes a fresh directory of plain files, or nothing."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from muxi.files import PRIVATE_DIRECTORY, sync_directory
from muxi.formation.disk import disk_work, remove_tree
from muxi.formation.gunzip import Gunzip
from muxi.formation.manifest import FILE_NAMES
from muxi.formation.members import DIRECTORY_MODE, MemberPolicy, Placement
from muxi.formation.refusal import refused
from muxi.formation.tar import Member, TarReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from muxi.config.model import BundleLimits

PIECE = 1024 * 1024
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
_UNUSABLE_NAME = frozenset({errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL})


@dataclass(frozen=True, slots=True)
class Bundle:
    """An extracted bundle. `root` is the directory that the manifest is in, if there is one.

    `members` counts files and named directories, `total_size` the bytes of all files.
    `content_hash` is a SHA-256 in hex over names, x bits and contents below the root: it is the same
    however, and by whatever tool, the same files were packed.
    """

    root: Path
    members: int
    total_size: int
    content_hash: str


class Members(Protocol):
    """What a bundle is made of: members in turn, each with its content until the next is asked for."""

    def __iter__(self) -> Iterator[Member]: ...

    def content(self, piece: int) -> Iterator[bytes]: ...


def extract(
    archive: Path,
    destination: Path,
    limits: BundleLimits,
    report: Callable[[int], None],
    check_cancelled: Callable[[], None],
) -> Bundle:
    """Extract `archive` into `destination`, which must not exist; its parents are made. Blocks.

    `report(bytes_read)` hears how much of the archive has been read. `check_cancelled` is called
    often and may raise anything. Raises BundleError when the archive is at fault, StorageError
    when the disk is. After any exception there is no `destination`.
    """

    def on_chunk(taken: int) -> None:
        check_cancelled()
        report(taken)

    with disk_work("extract the bundle", stage="extracting"), archive.open("rb") as packed:
        reader = TarReader(Gunzip(packed, limits.max_ratio, on_chunk))
        return _gather(reader, destination, limits, check_cancelled, lift=True)


def gather(
    members: Members, destination: Path, limits: BundleLimits, check_cancelled: Callable[[], None]
) -> Bundle:
    """Make a bundle of what is no archive, by the same policy and with the same errors as `extract`."""
    with disk_work("copy the files", stage="validating"):
        return _gather(members, destination, limits, check_cancelled, lift=False)


def _gather(
    members: Members,
    destination: Path,
    limits: BundleLimits,
    check_cancelled: Callable[[], None],
    *,
    lift: bool,
) -> Bundle:
    destination.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    destination.mkdir(mode=PRIVATE_DIRECTORY)
    try:
        tree = _Tree(destination)
        policy = MemberPolicy(limits)
        for member in members:
            check_cancelled()
            placement = policy.judge(member)
            if placement is not None:
                tree.add(placement, member, members)
        if not tree.files:
            raise refused(
                "it is an empty archive: it has no files.",
                cure="Pack the formation's directory, for example with: tar -czf bundle.tar.gz DIRECTORY",
            )
        tree.sync(check_cancelled)
        top = tree.single_top() if lift else None
        if top is not None:
            _lift(destination, top)
        return Bundle(destination, tree.members, tree.total_size, tree.content_hash(top))
    except BaseException:
        remove_tree(destination)
        raise


class _Tree:
    """The files and directories made so far below the destination."""

    def __init__(self, destination: Path) -> None:
        self._destination = destination
        self.files: dict[str, tuple[int, str]] = {}  # path → mode, SHA-256 of the content
        self._directories: set[str] = set()
        self.members = 0
        self.total_size = 0

    def add(self, placement: Placement, member: Member, reader: Members) -> None:
        try:
            if placement.is_directory:
                self._make_directory(placement.path)
            else:
                self._make_directory(placement.path.rpartition("/")[0])
                self._write(placement, reader)
        except OSError as error:
            if error.errno in _UNUSABLE_NAME:
                raise refused(
                    f"'{placement.path}' can't be a file name here.",
                    member=placement.path,
                    cure="Use a shorter or a plainer name.",
                ) from error
            raise
        self.members += 1
        self.total_size += member.size

    def _write(self, placement: Placement, reader: Members) -> None:
        digest = hashlib.sha256()
        fd = os.open(self._destination / placement.path, _MAKE, 0o600)
        try:
            for data in reader.content(PIECE):
                digest.update(data)
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
            if hasattr(os, "fchmod"):  # not on Windows, where modes mean nothing
                os.fchmod(fd, placement.mode)
        finally:
            os.close(fd)
        self.files[placement.path] = (placement.mode, digest.hexdigest())

    def _make_directory(self, path: str) -> None:
        if not path or path in self._directories:
            return
        self._make_directory(path.rpartition("/")[0])
        made = self._destination / path
        made.mkdir()
        made.chmod(DIRECTORY_MODE)
        self._directories.add(path)

    def sync(self, check_cancelled: Callable[[], None]) -> None:
        """Make all of it survive a power cut: contents first, then the names, deepest first."""
        for path in self.files:
            check_cancelled()
            fd = os.open(self._destination / path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        for path in sorted(self._directories, key=lambda path: path.count("/"), reverse=True):
            sync_directory(self._destination / path)
        sync_directory(self._destination)

    def single_top(self) -> str | None:
        """Return the one directory that everything is in, unless the manifest is beside it."""
        tops = {path.partition("/")[0] for path in (*self.files, *self._directories)}
        if any(name in self.files for name in FILE_NAMES) or len(tops) != 1:
            return None
        top = tops.pop()
        return top if top in self._directories else None

    def content_hash(self, top: str | None) -> str:
        """Hash what is below the root, in the order of the names. Empty directories count."""
        skip = 0 if top is None else len(top) + 1
        parents = {path.rpartition("/")[0] for path in (*self.files, *self._directories)}
        lines = [
            f"{'x' if mode & 0o100 else '-'} {content} {path[skip:]}\0"
            for path, (mode, content) in self.files.items()
        ]
        lines += [f"d {path[skip:]}\0" for path in self._directories - parents if path[skip:]]
        return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _lift(destination: Path, top: str) -> None:
    """Let the one top directory take the destination's place."""
    aside = destination.with_name(f"{destination.name}.{secrets.token_hex(4)}")
    (destination / top).rename(aside)
    try:
        destination.rmdir()
        aside.rename(destination)
    except BaseException:
        remove_tree(aside)
        raise
    destination.chmod(PRIVATE_DIRECTORY)
    sync_directory(destination.parent)
