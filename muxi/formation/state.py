"""What belongs to a formation and not to one release of it: its database and its tuning files.

They live in the formation's state directory, and every release has links to them. So the old and
the new version share one live database while they overlap, and a rollback takes back code, not
data. SQLite follows such a link: its `-wal` and `-shm` files appear beside the real file. A link
may dangle: an app that opens it for writing makes the real file.

A bundle's own copy of such a file is a *seed*: it is used where the formation has none yet, and
taken back when its release is never committed. A mark in the state directory tells of seeds
whose release is not committed yet.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from muxi.errors import BundleError
from muxi.files import atomic_write, sync_directory
from muxi.formation.disk import remove_temporaries

if TYPE_CHECKING:
    from collections.abc import Collection

DATABASE = "memory.db"
TUNING_FILES = ("MUXI.md", "PENDING-MUXI.md")
STATE_FILES = (DATABASE, *TUNING_FILES)
KEY = ".key"
"""With what the MUXI runtime encrypts secrets."""
SIDES = (f"{DATABASE}-wal", f"{DATABASE}-shm")
"""What SQLite keeps beside a database: its write-ahead log, and an index that is rebuilt."""

_MARK = ".seeds.json"


class _Seeds(msgspec.Struct):
    """The state files that came with a release which is not committed yet."""

    release: int
    names: list[str]


def adopt_state(root: Path, state: Path, number: int, *, key: bool = False) -> None:
    """Move the state files of release `number`'s bundle into `state` and put links in their places.

    What `state` has already wins; the bundle's copy is dropped then. `root` will be, when it is
    used, two levels below the directory of `state`. `key`: a key that its runtime makes for itself, as
    the bundle has none, is to be found by the next release; one in a bundle is that release's own.
    Raises BundleError, OSError.
    """
    for name in STATE_FILES:
        if (root / name).is_dir():
            raise BundleError(
                f"'{name}' is a directory in the bundle; the formation's data file of that name goes there.",
                stage="validating",
                cure=f"Rename the directory '{name}'.",
            )
    seeds = [name for name in STATE_FILES if (root / name).is_file() and not (state / name).exists()]
    if seeds:
        atomic_write(state / _MARK, msgspec.json.encode(_Seeds(number, seeds)))
    for name in STATE_FILES:
        _adopt(root, state, name)
    if key and not (root / KEY).exists():
        link_state(root, KEY)
    sync_directory(state)
    sync_directory(root)


def keep_seeds(state: Path) -> None:
    """Let seeds stay, since their release has been committed. Raises OSError."""
    (state / _MARK).unlink(missing_ok=True)


def take_back_seeds(state: Path, committed: Collection[int]) -> None:
    """Remove seeds whose release is not one of the committed ones. Raises OSError."""
    remove_temporaries(state, _MARK)
    mark = state / _MARK
    try:
        seeds = msgspec.json.decode(mark.read_bytes(), type=_Seeds)
    except FileNotFoundError:
        return
    except msgspec.MsgspecError:  # not ours: better a file too many than one too few
        seeds = _Seeds(0, [])
    if seeds.release not in committed:
        for name in seeds.names:
            if name in STATE_FILES:
                (state / name).unlink(missing_ok=True)
            for side in SIDES if name == DATABASE else ():
                (state / side).unlink(missing_ok=True)
    mark.unlink()
    sync_directory(state)


def is_sqlite(path: Path) -> bool:
    """Say whether a file begins as an SQLite 3 database does. Raises OSError."""
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def link_state(root: Path, name: str) -> None:
    """Put the link to a state file in its place in a release, in one step. Raises OSError."""
    if os.name == "nt":  # links need a privilege there
        return
    temporary = root / f".{name}.link"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(Path("..", "..", "state", name))
    temporary.replace(root / name)


def _adopt(root: Path, state: Path, name: str) -> None:
    bundled, live = root / name, state / name
    fresh = not live.exists()
    # A write-ahead log is of use only with its own database; the index beside it is rebuilt.
    for side in SIDES if name == DATABASE else ():
        if fresh and bundled.is_file() and side.endswith("-wal") and (root / side).is_file():
            (root / side).replace(state / side)
        (root / side).unlink(missing_ok=True)
    if fresh and bundled.is_file():
        bundled.replace(live)
        live.chmod(0o600)
    bundled.unlink(missing_ok=True)
    link_state(root, name)
