"""The small program of ours that runs the package `muxi-runtime`, put where it is run.

It is a text here, since it never runs in the server; and it lies in the environment, not among our
own files: a program finds what lies beside it before anything else, and the compiled server has none.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from muxi.disk import disk_work
from muxi.files import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORY: Final = "launcher"
PROGRAM: Final = '''\
"""Runs a MUXI formation with the package `muxi-runtime` as it comes from the index.

Its `muxi.runtime.utils.run_formation` asks for its neighbours one package too high (`muxi.datatypes` for
`muxi.runtime.datatypes`), so they are put there first: the very same modules, since a second copy
of an exception is caught by nobody who waits for the first. Where a later release has mended that,
this does nothing. It needs nothing but the standard library and Python 3.10.
"""

import importlib
import os
import runpy
import sys

if os.environ.get("MUXI_SIF_MODE") == "1":
    # It sets these itself, but after what reads them has been imported here.
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ.setdefault(name, "1")

for name in ("datatypes", "datatypes.exceptions", "formation", "services", "services.observability"):
    try:
        sys.modules.setdefault(f"muxi.{name}", importlib.import_module(f"muxi.runtime.{name}"))
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("muxi."):
            raise

runpy.run_module("muxi.runtime.utils.run_formation", run_name="__main__", alter_sys=True)
'''


def place_launcher(environment: Path) -> Path:
    """Return the launcher in an environment; it is put there the first time. Blocks. Raises StorageError.

    Another version of us has another file, so none changes under a process that runs it.
    """
    data = PROGRAM.encode()
    path = environment / DIRECTORY / f"run_formation_{hashlib.sha256(data).hexdigest()[:12]}.py"
    if not path.exists():
        with disk_work("store the launcher of the MUXI runtime", stage="installing"):
            path.parent.mkdir(exist_ok=True)
            atomic_write(path, data, 0o644)
    return path
