"""Appending whole lines to a private file that others may rotate, remove or fill the disk under."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from muxi.files import PRIVATE_DIRECTORY, PRIVATE_FILE

if TYPE_CHECKING:
    from pathlib import Path


class LineFile:
    """A file of lines, opened anew for every batch, so that one moved away is never written to.

    It blocks, and belongs to one thread at a time. A batch that the disk took only half of is
    closed by a newline before the next one: a torn line never swallows a whole one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._torn = False

    def append(self, data: bytes) -> None:
        """Write complete lines at the end. Raises OSError; some of the data may be in the file then."""
        fd = self._open()
        try:
            view = memoryview(b"\n" + data if self._torn else data)
            while view:
                written = os.write(fd, view)
                self._torn = view[written - 1] != ord("\n")
                view = view[written:]
        finally:
            os.close(fd)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            fd = os.open(self.path, flags, PRIVATE_FILE)
        except FileNotFoundError:
            self.path.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            fd = os.open(self.path, flags, PRIVATE_FILE)
        if hasattr(os, "fchmod"):
            os.fchmod(fd, PRIVATE_FILE)
        return fd
