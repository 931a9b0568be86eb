"""A deployed formation as a zip file, written a piece at a time to whoever takes it.

Flat, as the clients unpack it into a directory: the manifest at the top, directories with a `/` at the
end, Unix modes set. Sizes and checksums follow the data (APPNOTE 4.3.9), so nothing is written twice
and nothing has to be sought. Blocks.
"""

from __future__ import annotations

import secrets
import shutil
import sqlite3
import stat
import time
import zipfile
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from muxi.errors import OperatorError
from muxi.files import PRIVATE_DIRECTORY
from muxi.formation.disk import disk_work, remove_tree, require_space
from muxi.formation.members import DIRECTORY_MODE, file_mode
from muxi.formation.state import DATABASE, SIDES, TUNING_FILES, is_sqlite
from muxi.formation.tree import TreeReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from muxi.formation.tar import Member

PIECE = 256 * 1024
BUSY_SECONDS = 30.0
"""How long a copy of a database waits for a formation that is writing to it."""
_FIRST_YEAR = 1980


class Sink(Protocol):
    """Where the zip goes; what `write` raises ends the writing."""

    def write(self, data: bytes, /) -> int: ...


class Download:
    """The zip of one release. Make it, `prepare` it, `write` it; `close` removes its own files.

    `with_database` puts `memory.db` in, as a consistent copy made while the formation runs.
    `hold` says which files of secrets go in: `all`, `encrypted` (not `.key`) or `none`.
    """

    def __init__(self, root: Path, state: Path, tmp: Path, *, with_database: bool, hold: str) -> None:
        self._root = root
        self._state = state
        self._own = tmp / f"download.{secrets.token_hex(8)}"
        self._with_database = with_database
        self._hold = hold

    def prepare(self, reserve: int) -> None:
        """Copy the database, and others of its name below. Raises StorageError, OperatorError."""
        with disk_work(f"copy {DATABASE}"):
            self._own.mkdir(mode=PRIVATE_DIRECTORY, parents=True)
            databases = self._databases() if self._with_database else {}
            needed = sum(path.stat().st_size for path in databases.values())
            require_space(self._own, needed, reserve if databases else 0, f"copy {DATABASE}")
            for name, path in databases.items():
                (self._own / name).parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
                copy_database(path, self._own / name)

    def _databases(self) -> dict[str, Path]:
        """Return the databases by their names in the zip; the formation's own is with its state."""
        found: dict[str, Path] = {}
        own = self._state / DATABASE
        if own.is_file() and not own.is_symlink():
            found[DATABASE] = own
        for member in TreeReader(self._root, lambda path: _last(path).startswith("."), only_plain=True):
            if member.kind == "file" and _last(member.name) == DATABASE:
                found[member.name] = self._root / member.name
        return found

    def write(self, sink: Sink, check_cancelled: Callable[[], None]) -> None:
        """Write the zip. Raises OSError, and whatever `sink` and `check_cancelled` raise."""
        with zipfile.ZipFile(_Unseekable(sink), "w", zipfile.ZIP_DEFLATED) as archive:
            for reader in (
                TreeReader(self._root, self._left_out, only_plain=True),
                TreeReader(self._state, lambda path: path not in TUNING_FILES, only_plain=True),
                TreeReader(self._own, lambda _path: False),
            ):
                for member in reader:
                    check_cancelled()
                    _add(archive, member, reader, check_cancelled)

    def close(self) -> None:
        remove_tree(self._own)

    def _left_out(self, path: str) -> bool:
        name = _last(path)
        if name in {DATABASE, *SIDES}:
            return True  # copies come, if they come
        if name in {"secrets.enc", ".env"}:
            return self._hold == "none"
        if name == ".key":
            return self._hold != "all"
        return name.startswith(".")


def _last(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def copy_database(source: Path, copy: Path) -> None:
    """Copy an SQLite database as it is at one moment, also while it is written to.

    What is no such database is copied as it is. Raises OperatorError when it can't be read, or is
    locked for longer than BUSY_SECONDS, and OSError.
    """
    if not is_sqlite(source):
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


def _add(
    archive: zipfile.ZipFile, member: Member, reader: TreeReader, check_cancelled: Callable[[], None]
) -> None:
    """Add a file or directory; what is there already stays, and what is gone meanwhile is left out."""
    name = f"{member.name}/" if member.kind == "directory" else member.name
    if name in archive.NameToInfo:  # an app has put a file in the place of a link to its state
        return
    info = _info(name, member.mode, reader.modified)
    if member.kind == "directory":
        archive.writestr(info, b"")
        return
    info.file_size = member.size
    pieces = reader.content(PIECE)
    try:
        first = next(pieces, b"")
    except FileNotFoundError:
        return
    with archive.open(info, "w") as added:
        for data in chain((first,), pieces):
            check_cancelled()
            added.write(data)


def _info(name: str, mode: int, modified: float) -> zipfile.ZipInfo:
    """Describe a member; the clients take its mode from here, and would have 0 without it."""
    when = time.localtime(modified)[:6]
    info = zipfile.ZipInfo(name, max(when, (_FIRST_YEAR, 1, 1, 0, 0, 0)))
    is_directory = name.endswith("/")
    unix = stat.S_IFDIR | DIRECTORY_MODE if is_directory else stat.S_IFREG | file_mode(name, mode)
    info.compress_type = zipfile.ZIP_STORED if is_directory else zipfile.ZIP_DEFLATED
    info.create_system = 3  # Unix
    info.external_attr = unix << 16 | (0x10 if is_directory else 0)
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
