"""Bringing back into the state directory what an app has put in the place of a link to it.

Editors and careful programs write a new file and rename it over the old one, and so replace the
link in the release by a regular file: what is in it would be left behind by the next release.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from muxi.errors import StorageError
from muxi.files import PRIVATE_DIRECTORY, sync_directory
from muxi.formation.disk import disk_work
from muxi.formation.state import DATABASE, SIDES, STATE_FILES, is_sqlite, link_state

if TYPE_CHECKING:
    from pathlib import Path

BUSY_SECONDS = 5.0
"""How long a database may be locked by whoever still reads it."""
REPLACED = "replaced"
"""Below the state directory: what the latest collecting found to be the older of two copies."""


def collect_state(root: Path, state: Path) -> tuple[str, ...]:
    """Move regular files in the places of state links into `state`, and link again. Blocks.

    Only for a release whose process has ended; a process of another release that has the state
    database open would go on with the one that is put aside. Where the state directory has a file of the
    name, the one written last is the live one from now on, and the other goes to `replaced/`
    there. A crash in between is made good by the next call. Returns the names collected. Raises
    StorageError; what could not be collected is where it was.
    """
    with disk_work("collect the formation's state"):
        names = tuple(name for name in STATE_FILES if _is_regular(root / name))
        for name in names:
            _collect(root, state, name)
        for name in STATE_FILES:
            if not (root / name).is_symlink() and not (root / name).exists():
                link_state(root, name)
        if names:
            sync_directory(state)
            sync_directory(root)
    return names


def _collect(root: Path, state: Path, name: str) -> None:
    found, live = root / name, state / name
    if name == DATABASE:
        # Both become one file each, so that one rename moves a database whole.
        for database in (found, live):
            _fold_log(database)
    if live.exists() and live.stat().st_mtime_ns > found.stat().st_mtime_ns:
        _set_aside(found, state, name)
    else:
        if live.exists():
            _copy_aside(live, state, name)
        if name == DATABASE:
            _remove_sides(state)
        found.chmod(0o600)
        found.replace(live)
    link_state(root, name)
    if name == DATABASE:
        _remove_sides(root)


def _fold_log(database: Path) -> None:
    """Write a database's write-ahead log into it, keeping the time at which it was last written.

    Raises StorageError when that can't be done: moved without its log it would lose what is in it.
    """
    log = database.with_name(f"{database.name}-wal")
    if not (_is_regular(database) and _is_regular(log) and is_sqlite(database)):
        return
    written = max(database.stat().st_mtime_ns, log.stat().st_mtime_ns)
    try:
        with closing(sqlite3.connect(database, timeout=BUSY_SECONDS)) as connection:
            (busy, *_counts) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise _not_folded(database, str(error)) from error
    if busy:
        raise _not_folded(database, "a process has it open")
    os.utime(database, ns=(written, written))


def _not_folded(database: Path, reason: str) -> StorageError:
    return StorageError(
        f"{database} was not collected: {reason}.",
        code="StateNotCollected",
        cure="It stays where it is; end what uses it, then restart the formation.",
    )


def _remove_sides(directory: Path) -> None:
    for side in SIDES:
        (directory / side).unlink(missing_ok=True)


def _set_aside(path: Path, state: Path, name: str) -> None:
    (state / REPLACED).mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
    path.replace(state / REPLACED / name)


def _copy_aside(path: Path, state: Path, name: str) -> None:
    """Keep a copy; the live name is there at every moment."""
    (state / REPLACED).mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
    copy = state / REPLACED / name
    copy.unlink(missing_ok=True)
    try:
        copy.hardlink_to(path)
    except OSError:  # a file system without hard links
        shutil.copy2(path, copy)


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
