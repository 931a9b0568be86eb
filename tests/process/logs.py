"""What the tests of logs share: all that a log ever said, and file systems of every kind."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from muxi.process import fallocate
from muxi.process.log_reader import LogReader

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

WAYS = ("collapse", "punch", "truncate")
"""How a log can be shrunk; each file system knows one of them at least."""


def append(path: Path, data: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        file.write(data)


def everything(path: Path, size: int = 10_000) -> bytes:
    """Return all bytes of a log from the first that is there, read by position."""
    reader = LogReader(path)
    try:
        found, position = b"", reader.first()
        while True:
            at, data = reader.read(position, size)
            assert at == position, "a gap"
            if not data:
                return found
            found += data
            position += len(data)
    finally:
        reader.close()


def only_way(way: str, patch: pytest.MonkeyPatch) -> None:
    """Make the file system one that can shrink a file in this way alone."""

    def refuse(*_args: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    if way != "collapse":
        patch.setattr(fallocate, "collapse", refuse)
    if way == "truncate":
        patch.setattr(fallocate, "punch", refuse)
