"""The files of control groups: small texts in a file system that is the kernel itself.

Nothing here touches a disk; a write may still take ten milliseconds, when the kernel waits for
all processors.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_READ_SIZE: Final = 64 * 1024


def remove(directory: Path) -> bool:
    """Remove a group; False when somebody is in it, or it may not be."""
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def read(path: Path) -> str:
    """Return what a file says. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        blocks = []  # the kernel gives a page or so at a time
        while block := os.read(descriptor, _READ_SIZE):
            blocks.append(block)
        return b"".join(blocks).decode(errors="replace")
    finally:
        os.close(descriptor)


def write(path: Path, text: str) -> None:
    """Write to a file in one call. Raises OSError when the kernel refuses it."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
