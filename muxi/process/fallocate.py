"""fallocate(2): taking bytes out of a file without copying it. Linux; Python has no binding for it."""

from __future__ import annotations

import ctypes
import errno
import os

KEEP_SIZE = 0x01
PUNCH_HOLE = 0x02
COLLAPSE_RANGE = 0x08


def collapse(fd: int, size: int) -> None:
    """Take the first `size` bytes, whole blocks, out of a file: what follows moves to the front.

    Raises OSError where the file system can't (ext4, XFS and F2FS can).
    """
    _fallocate(fd, COLLAPSE_RANGE, 0, size)


def punch(fd: int, start: int, size: int) -> None:
    """Give a range's room back and leave a hole of zeros; nothing moves, the size stays.

    Raises OSError where the file system can't (most of Linux's own can, tmpfs and Btrfs too).
    """
    _fallocate(fd, PUNCH_HOLE | KEEP_SIZE, start, size)


def _fallocate(fd: int, mode: int, start: int, size: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        function = libc.fallocate64 if hasattr(libc, "fallocate64") else libc.fallocate
    except AttributeError:  # not Linux
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP)) from None
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    while function(fd, mode, start, size) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
