"""The mark: a line at the top of a log that has been rotated, which says where its bytes lie.

Every byte that a process ever wrote to a log has a *position*: how many bytes were written before it.
Rotating moves bytes from one file to another and shifts what stays, but no byte's position ever
changes, so a reader that asks by position loses and doubles nothing, whatever is moved meanwhile.
The mark is written over bytes that are in a rotated file already, and is no line of the log.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple
from zlib import crc32

MARK_SIZE = 128
"""Bytes that a mark takes at the least; it may be longer, by spaces."""

_TEXT = b"[muxi-server] earlier lines are in the numbered files; base %016d from %016d"
_FORM = re.compile(
    re.escape(_TEXT).replace(re.escape(b"%016d"), rb"(\d{16})") + rb" check ([0-9a-f]{8})[ \n]"
)


class Mark(NamedTuple):
    """`base` is the position of the file's first byte; bytes before `valid` are not in it any more."""

    base: int
    valid: int

    def encode(self, size: int = MARK_SIZE) -> bytes:
        """Return the mark as one line of exactly `size` bytes, `MARK_SIZE` at the least."""
        text = _TEXT % self
        return (b"%s check %08x" % (text, crc32(text))).ljust(size - 1) + b"\n"

    def fit(self, size: int) -> Mark:
        """Return where the bytes lie of a file of `size` bytes: it may have been cut off since."""
        if size >= self.valid - self.base:
            return self
        return Mark(self.valid - MARK_SIZE, self.valid)


def parse(head: bytes) -> Mark | None:
    """Read the mark from a file's first bytes; None when they are no mark, or a half-written one."""
    found = _FORM.match(head)
    if found is None:
        return None
    mark = Mark(int(found[1]), int(found[2]))
    return mark if int(found[3], 16) == crc32(_TEXT % mark) else None


def look(fd: int) -> tuple[Mark | None, int]:
    """Return a file's mark and its size, which belong together even while it is being rotated."""
    head = os.pread(fd, MARK_SIZE, 0)
    while True:
        size = os.fstat(fd).st_size
        again = os.pread(fd, MARK_SIZE, 0)
        if again == head:
            mark = parse(head)
            return (None if mark is None else mark.fit(size)), size
        head = again


def stamp(fd: int, mark: Mark) -> None:
    """Write the mark at the top of the file. A reader sees it whole, or not at all."""
    os.pwrite(fd, mark.encode(), 0)
