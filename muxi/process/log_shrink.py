"""Taking out of a log what is in a rotated file already, while its process goes on writing.

The first of these that the file system can do:

1. *Collapse*: whole blocks come off the front, the rest moves up (ext4, XFS, F2FS).
2. *Punch*: the room is given back, the file keeps its length, with a hole at the front (tmpfs, Btrfs).
3. *Truncate*, while those who write stand still for a moment (all others, on Linux).

A server that dies in the middle of any of them loses and doubles nothing: the mark at the top says
which bytes count, is written before anything is taken away, and is right again afterwards.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Literal

from muxi.process import fallocate
from muxi.process.log_freeze import frozen
from muxi.process.log_mark import MARK_SIZE, Mark, look, stamp
from muxi.process.log_pieces import piece_path, pieces

if TYPE_CHECKING:
    from pathlib import Path

How = Literal["collapse", "punch", "truncate", "none"]

CHUNK = 1 << 20
PIECE_MODE = 0o640
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def shrink(fd: int, log: Path) -> How:
    """Take the bytes before the mark's `valid` out of the file; say how, "none" if nothing was. Blocks.

    `fd` is the log, open for reading and writing, not for appending. Raises OSError, also when
    there is no way to do it now.
    """
    mark, _ = look(fd)
    block = os.fstatvfs(fd).f_bsize
    if mark is None or mark.valid - mark.base < 2 * block + MARK_SIZE:
        return "none"
    try:
        _collapse(fd, mark, block)
    except OSError:
        pass
    else:
        return "collapse"
    try:
        _punch(fd, mark, block)
    except OSError:
        return _truncate(fd, log)
    return "punch"


def write_part(fd: int, offset: int, size: int, path: Path, *, at: int = 0) -> None:
    """Copy a range of a file to another file, where it ends that file. Blocks.

    Raises OSError; the other file is incomplete then.
    """
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, PIECE_MODE)
    try:
        os.ftruncate(target, at)
        os.lseek(target, at, os.SEEK_SET)
        end = offset + size
        while offset < end and (chunk := os.pread(fd, min(CHUNK, end - offset), offset)):
            offset += os.write(target, chunk)
    finally:
        os.close(target)


def _collapse(fd: int, mark: Mark, block: int) -> None:
    dead = mark.valid - mark.base
    size = (dead - MARK_SIZE) // block * block
    # Over bytes that do not count any more; it comes to the top by the collapse itself.
    os.pwrite(fd, Mark(mark.base + size, mark.valid).encode(dead - size), size)
    fallocate.collapse(fd, size)


def _punch(fd: int, mark: Mark, block: int) -> None:
    fallocate.punch(fd, block, (mark.valid - mark.base) // block * block - block)
    os.pwrite(fd, mark.encode(block), 0)  # the same mark: only so that people see no dead lines behind it


def _truncate(fd: int, log: Path) -> How:
    with frozen(log) as still:
        if not still:
            why = "the file system can't shorten it, and those who write to it don't stand still"
            raise BlockingIOError(errno.EAGAIN, why)
        mark, size = look(fd)
        if mark is None:  # emptied by somebody in this moment
            return "none"
        end = mark.base + size
        try:
            _move_rest(fd, log, mark, end)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
        stamp(fd, Mark(mark.base, end))
        os.ftruncate(fd, MARK_SIZE)
        stamp(fd, Mark(end - MARK_SIZE, end))
    return "truncate"


def _move_rest(fd: int, log: Path, mark: Mark, end: int) -> None:
    """Append what was written since the newest rotated file was made to that file."""
    newest = next((piece for piece in pieces(log) if piece.start < mark.valid <= piece.end), None)
    start = mark.valid if newest is None else newest.start
    path = piece_path(log, start) if newest is None else newest.path
    write_part(fd, mark.valid - mark.base, end - mark.valid, path, at=mark.valid - start)
