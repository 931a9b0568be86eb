"""What belongs to a formation and not to one release of it: its database and its tuning files.

They live in the formation's state directory, and every release has links to them. So the old and
the new version share one live database while they overlap, and a rollback takes back code, not
data. SQLite follows such a link: its `-wal` and `-shm` files appear beside the real file. A link
may dangle: an app that opens it for writing makes the real file.
"""

from __future__ import annotations

import os
from pathlib import Path

from muxi.errors import BundleError
from muxi.files import sync_directory

DATABASE = "memory.db"
STATE_FILES = (DATABASE, "MUXI.md", "PENDING-MUXI.md")


def adopt_state(root: Path, state: Path) -> None:
    """Move a bundle's copies of the state files into `state` and put links in their places.

    What `state` has already wins; the bundle's copy is dropped then. `root` will be, when it is
    used, two levels below the directory of `state`. Raises BundleError, OSError.
    """
    for name in STATE_FILES:
        if (root / name).is_dir():
            raise BundleError(
                f"'{name}' is a directory in the bundle; the formation's data file of that name goes there.",
                stage="validating",
                cure=f"Rename the directory '{name}'.",
            )
    for name in STATE_FILES:
        _adopt(root, state, name)
    sync_directory(state)
    sync_directory(root)


def _adopt(root: Path, state: Path, name: str) -> None:
    bundled, live = root / name, state / name
    fresh = not live.exists()
    # A write-ahead log is of use only with its own database; the index beside it is rebuilt.
    for side in (f"{name}-wal", f"{name}-shm") if name == DATABASE else ():
        if fresh and bundled.is_file() and side.endswith("-wal") and (root / side).is_file():
            (root / side).replace(state / side)
        (root / side).unlink(missing_ok=True)
    if fresh and bundled.is_file():
        bundled.replace(live)
        live.chmod(0o600)
    bundled.unlink(missing_ok=True)
    if os.name != "nt":  # links need a privilege there
        bundled.symlink_to(Path("..", "..", state.name, name))
