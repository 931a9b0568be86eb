"""Which environments have processes in them now: a run for development is written down nowhere else."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from muxi.process import procfs

if TYPE_CHECKING:
    from pathlib import Path


def inhabited(directory: Path) -> frozenset[str]:
    """Return the names below `directory` that processes have as their VIRTUAL_ENV. Blocks.

    Only processes of our own user are seen, and only where there is a /proc.
    """
    found = set()
    mark = b"VIRTUAL_ENV=" + os.fsencode(directory) + b"/"
    for pid in procfs.pids():
        with suppress(OSError):
            for variable in procfs.read(f"{procfs.PROC}/{pid}/environ").split(b"\0"):
                if variable.startswith(mark):
                    found.add(os.fsdecode(variable.removeprefix(mark)).partition("/")[0])
    return frozenset(found)
