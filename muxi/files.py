"""Writing files so that a reader, or the next start, sees the old text or the new one, never half.

All functions block; on the event loop call them through `trio.to_thread.run_sync`.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700


def sync_directory(directory: Path) -> None:
    """Make the names in a directory (creations, renames, removals) survive a power cut."""
    if os.name == "nt":  # Windows has no handle for this; NTFS journals names itself
        return
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def atomic_write(path: Path, data: bytes, mode: int = PRIVATE_FILE) -> None:
    """Replace a file's content in one step: temporary file, fsync, rename, fsync of the directory.

    The temporary file has its final mode from its first byte on, so a secret is at no time
    readable by others. Raises OSError; then the old content stands and no temporary is left.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            os.fchmod(fd, mode) if hasattr(os, "fchmod") else None
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
