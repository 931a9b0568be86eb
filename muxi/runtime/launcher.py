"""The small program of ours that runs the package `muxi-runtime` (`run_formation.txt`), put where it is run.

It lies beside the environment's own files, and not among ours: a program finds what lies beside it
before anything else, and the compiled server's files are gone when it ends.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Final

from muxi.disk import disk_work
from muxi.files import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "run_formation.txt"
DIRECTORY: Final = "launcher"


def place_launcher(environment: Path) -> Path:
    """Return the launcher in an environment; it is put there the first time. Blocks. Raises StorageError.

    Another version of us has another file, so none changes under a process that runs it.
    """
    data = resources.files(__package__).joinpath(NAME).read_bytes()
    path = environment / DIRECTORY / f"run_formation_{hashlib.sha256(data).hexdigest()[:12]}.py"
    if not path.exists():
        with disk_work("store the launcher of the MUXI runtime", stage="installing"):
            path.parent.mkdir(exist_ok=True)
            atomic_write(path, data, 0o644)
    return path
