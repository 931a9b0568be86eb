"""A file that is not whole yet: its bytes in `NAME.part`, and beside it of what they are a part.

Blocks, and raises OSError: call it in a thread. Used by one task at a time, under the target's lock.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import msgspec

from muxi.download.ranges import Origin
from muxi.files import PRIVATE_FILE, atomic_write, sync_directory

if TYPE_CHECKING:
    from pathlib import Path

SYNC_EVERY = 32 * 1024 * 1024
"""Bytes after which the disk is told to keep them: after a power cut no more than that is fetched again."""


class Part:
    """`offset` bytes of a file are here, of `origin` (None: nothing is)."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")
        self._fd: int | None = None
        self.origin: Origin | None = None
        self.offset = 0

    def open(self, url: str) -> None:
        """Take up what is here of `url`; anything else is thrown away."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.origin = self._read_note(url)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        self.offset = 0
        if self.origin is not None:
            # What was not synced may be blocks of zeros after a power cut.
            self.offset = min(os.fstat(self._fd).st_size, self.origin.synced)
        os.ftruncate(self._fd, self.offset)
        os.lseek(self._fd, self.offset, os.SEEK_SET)

    def begin(self, origin: Origin) -> None:
        """Throw away what is here, and let what follows be a part of `origin`."""
        self._note.unlink(missing_ok=True)
        os.ftruncate(self._open_fd, 0)
        os.lseek(self._open_fd, 0, os.SEEK_SET)
        self.offset, self.origin = 0, msgspec.structs.replace(origin, synced=0)

    def size(self) -> int:
        """Return how many bytes are here, whoever brings them."""
        return self.path.stat().st_size if self.path.exists() else 0

    def append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._open_fd, view)
            self.offset += written
            view = view[written:]
        if self.origin is not None and self.offset - self.origin.synced >= SYNC_EVERY:
            self.sync()

    def sync(self) -> None:
        """Have the disk keep all that is here, and then say so."""
        if self.origin is None or self.origin.synced == self.offset:
            return
        os.fsync(self._open_fd)
        self.origin = msgspec.structs.replace(self.origin, synced=self.offset)
        atomic_write(self._note, msgspec.json.encode(self.origin), PRIVATE_FILE)

    def digest(self) -> str:
        """Return the SHA-256 of what is on the disk, in hexadecimal."""
        return digest(self.path)

    def finish(self, mode: int) -> None:
        """Put it in its place, whole and kept by the disk."""
        fd = self._open_fd
        if hasattr(os, "fchmod"):
            os.fchmod(fd, mode)
        os.fsync(fd)
        self.close()  # Windows renames nothing that is open
        self.path.replace(self.target)
        self._note.unlink(missing_ok=True)
        sync_directory(self.target.parent)

    def discard(self) -> None:
        """Throw away what is here, so that its space is free again."""
        self.close()
        self._note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self.origin, self.offset = None, 0

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    @property
    def _open_fd(self) -> int:
        assert self._fd is not None, "a part is opened before it is used"
        return self._fd

    def _read_note(self, url: str) -> Origin | None:
        try:
            origin = msgspec.json.decode(self._note.read_bytes(), type=Origin)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        return origin if origin.url == url else None


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
