"""fallocate(2): taking bytes out of a file without copying it. Python has no binding for it."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

KEEP_SIZE = 0x01
PUNCH_HOLE = 0x02
COLLAPSE_RANGE = 0x08
F_PUNCHHOLE = 99


def collapse(fd: int, size: int) -> None:
    """Take the first `size` bytes, whole blocks, out of a file: what follows moves to the front.

    Raises OSError where the file system can't (ext4, XFS and F2FS can).
    """
    _fallocate(fd, COLLAPSE_RANGE, 0, size)


def punch(fd: int, start: int, size: int) -> None:
    """Give a range's room back and leave a hole of zeros; nothing moves, the size stays.

    Raises OSError where the file system can't (most of Linux's own can, tmpfs and Btrfs too; on
    macOS APFS, by the F_PUNCHHOLE of fcntl(2)).
    """
    if sys.platform == "darwin":
        import fcntl  # noqa: PLC0415 - Windows has none

        fcntl.fcntl(fd, F_PUNCHHOLE, struct.pack("=IIqq", 0, 0, start, size))
        return
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
