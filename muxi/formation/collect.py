"""Bringing back into the state directory what an app has put in the place of a link to it.

Editors and careful programs write a new file and rename it over the old one, and so replace the
link in the release by a regular file: what is in it would be left behind by the next release.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from muxi.files import PRIVATE_DIRECTORY, sync_directory
from muxi.formation.disk import disk_work
from muxi.formation.state import DATABASE, SIDES, STATE_FILES, link_state

if TYPE_CHECKING:
    from pathlib import Path

REPLACED = "replaced"
"""Below the state directory: what the latest collecting found to be the older of two copies."""


def collect_state(root: Path, state: Path) -> tuple[str, ...]:
    """Move regular files in the places of state links into `state`, and link again. Blocks.

    Only for a release whose process has ended; a process of another release that has the state
    database open would go on with the one that is put aside. Where the state directory has a file of the
    name, the one written last is the live one from now on, and the other goes to `replaced/`
    there. A crash in between is made good by the next call. Returns the names collected. Raises
    StorageError.
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
        link_state(root, name)
        return
    if live.exists():
        _copy_aside(live, state, name)
    if name == DATABASE:
        for side in SIDES:
            (state / side).unlink(missing_ok=True)
    found.chmod(0o600)
    found.replace(live)
    link_state(root, name)
    for side in SIDES if name == DATABASE else ():
        (root / side).unlink(missing_ok=True)


def _fold_log(database: Path) -> None:
    """Write a database's write-ahead log into it, keeping the time at which it was last written.

    One that SQLite can't read stays as it is.
    """
    log = database.with_name(f"{database.name}-wal")
    if not (_is_regular(database) and _is_regular(log)):
        return
    written = max(database.stat().st_mtime_ns, log.stat().st_mtime_ns)
    with suppress(sqlite3.Error), closing(sqlite3.connect(database, timeout=5.0)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.utime(database, ns=(written, written))


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
