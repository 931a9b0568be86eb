"""A deployed formation as a zip file, written a piece at a time to whoever takes it.

Flat, as the clients unpack it into a directory: the manifest at the top, directories with a `/` at the
end, Unix modes set. Sizes and checksums follow the data (APPNOTE 4.3.9), so nothing is written twice
and nothing has to be sought. Blocks.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import stat
import time
import zipfile
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from muxi.errors import OperatorError
from muxi.files import PRIVATE_DIRECTORY
from muxi.formation.disk import disk_work, remove_tree, require_space
from muxi.formation.members import DIRECTORY_MODE, file_mode
from muxi.formation.state import DATABASE, SIDES, STATE_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PIECE = 256 * 1024
BUSY_SECONDS = 30.0
"""How long a copy of a database waits for a formation that is writing to it."""
_FIRST_YEAR = 1980
_READ = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class Sink(Protocol):
    """Where the zip goes; what `write` raises ends the writing."""

    def write(self, data: bytes, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Item:
    """A name in the zip, and the file whose content it has; None for a directory."""

    name: str
    source: Path | None


class Download:
    """What goes into the zip of one release. Make it by `collect`; `close` removes its own files.

    `with_database` puts `memory.db` in, as a consistent copy made while the formation runs.
    `hold` says which files of secrets go in: `all`, `encrypted` (not `.key`) or `none`.
    """

    def __init__(self, root: Path, state: Path, tmp: Path, *, with_database: bool, hold: str) -> None:
        self._root = root
        self._state = state
        self._own = tmp / f"download.{secrets.token_hex(8)}"
        self._with_database = with_database
        self._hold = hold
        self.items: list[Item] = []

    def collect(self, reserve: int) -> None:
        """List the files, and copy the database. Raises StorageError, OperatorError."""
        with disk_work("read the formation's files"):
            self.items = list(self._items(self._root, ""))
            database = self._state / DATABASE
            if self._with_database and database.is_file():
                size = database.stat().st_size
                require_space(self._own.parent, size, reserve, f"copy {DATABASE}")
                self._own.mkdir(mode=PRIVATE_DIRECTORY)
                copy_database(database, self._own / DATABASE)
                self.items.append(Item(DATABASE, self._own / DATABASE))

    def write(self, sink: Sink, check_cancelled: Callable[[], None]) -> None:
        """Write the zip. Raises OSError, and whatever `sink` and `check_cancelled` raise."""
        with zipfile.ZipFile(_Unseekable(sink), "w", zipfile.ZIP_DEFLATED) as archive:
            for item in self.items:
                check_cancelled()
                if item.source is None:
                    archive.writestr(_info(item.name, stat.S_IFDIR | DIRECTORY_MODE, time.time()), b"")
                else:
                    _add(archive, item.name, item.source, check_cancelled)

    def close(self) -> None:
        remove_tree(self._own)

    def _items(self, directory: Path, prefix: str) -> Iterator[Item]:
        with os.scandir(directory) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            if self._left_out(entry.name):
                continue
            path, name = directory / entry.name, prefix + entry.name
            if not prefix and entry.name in STATE_FILES and entry.is_symlink():
                if (self._state / entry.name).is_file():
                    yield Item(name, self._state / entry.name)
            elif entry.is_dir(follow_symlinks=False):
                yield Item(f"{name}/", None)
                yield from self._items(path, f"{name}/")
            elif entry.is_file(follow_symlinks=False):
                yield Item(name, path)

    def _left_out(self, name: str) -> bool:
        if name in {DATABASE, *SIDES}:
            return True  # the formation's own comes as a copy, if it comes
        if name == "secrets.enc":
            return self._hold == "none"
        if name == ".env":
            return self._hold == "none"
        if name == ".key":
            return self._hold != "all"
        return name.startswith(".")


def copy_database(source: Path, copy: Path) -> None:
    """Copy an SQLite database as it is at one moment, also while it is written to.

    What is no such database is copied as it is. Raises OperatorError when it can't be read, or is
    locked for longer than BUSY_SECONDS, and OSError.
    """
    with source.open("rb") as file:
        if file.read(16) != b"SQLite format 3\0":
            shutil.copyfile(source, copy)
            return
    deadline = time.monotonic() + BUSY_SECONDS

    def give_up(status: int, _left: int, _pages: int) -> None:
        # `backup` itself tries again for ever.
        if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} and time.monotonic() > deadline:
            raise sqlite3.OperationalError("the formation has it locked")

    try:
        with (
            closing(sqlite3.connect(f"file:{quote(str(source))}?mode=rw", uri=True, timeout=1.0)) as live,
            closing(sqlite3.connect(copy)) as made,
        ):
            live.backup(made, progress=give_up)
    except sqlite3.Error as error:
        raise OperatorError(
            f"{DATABASE} can't be copied: {error}.",
            code="DatabaseError",
            cure="Try again later, or download without the database.",
        ) from error


def _add(archive: zipfile.ZipFile, name: str, path: Path, check_cancelled: Callable[[], None]) -> None:
    """Add a file, of one that grows meanwhile no more than it had; one that is gone is left out."""
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        return
    with os.fdopen(fd, "rb", buffering=0) as file:
        status = os.fstat(fd)
        info = _info(name, stat.S_IFREG | file_mode(name, status.st_mode), status.st_mtime)
        info.file_size = left = status.st_size
        with archive.open(info, "w") as member:
            while data := file.read(min(PIECE, left)):
                check_cancelled()
                left -= len(data)
                member.write(data)


def _info(name: str, mode: int, modified: float) -> zipfile.ZipInfo:
    """Describe a member; the clients take its mode from here, and would have 0 without it."""
    when = time.localtime(modified)[:6]
    info = zipfile.ZipInfo(name, max(when, (_FIRST_YEAR, 1, 1, 0, 0, 0)))
    info.compress_type = zipfile.ZIP_STORED if name.endswith("/") else zipfile.ZIP_DEFLATED
    info.create_system = 3  # Unix
    info.external_attr = mode << 16 | (0x10 if name.endswith("/") else 0)
    return info


class _Unseekable:
    """A file that `zipfile` can only write to, so that it writes each byte once and in order."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._batch = bytearray()

    def write(self, data: bytes, /) -> int:
        self._batch += data
        if len(self._batch) >= PIECE:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if self._batch:
            batch, self._batch = bytes(self._batch), bytearray()
            self._sink.write(batch)

    def close(self) -> None:
        self.flush()
