"""inotify(7): events when a file is written or replaced. Linux only; Python has no binding for it."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from pathlib import Path

IN_MODIFY = 0x002
IN_ATTRIB = 0x004
IN_MOVED_TO = 0x080
IN_CREATE = 0x100
IN_MOVE_SELF = 0x800
FILE_EVENTS = IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF  # ATTRIB tells of a removal, too (link count)
DIRECTORY_EVENTS = IN_CREATE | IN_MOVED_TO

_READ_SIZE = 4096


class FileWatch:
    """Tells when the file of a name may have changed; also of its creation and replacement.

    Its directory must exist. Raises OSError where there is no inotify, or no watch left to have
    (`fs.inotify.max_user_instances`). Wake-ups may be spurious; no change is missed when the
    file is read after `arm` and after each `wait`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._libc = ctypes.CDLL(None, use_errno=True)
        try:
            self._fd = int(self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        except AttributeError:
            raise OSError("this system has no inotify") from None
        _check(self._fd)
        try:
            self._add(path.parent, DIRECTORY_EVENTS)
        except OSError:
            self.close()
            raise
        self.arm()

    def arm(self) -> None:
        """Watch the file that has the name now, if any. Call it again when it was replaced."""
        with suppress(OSError):  # not there: its directory's watch will tell when it comes
            self._add(self._path, FILE_EVENTS)

    async def wait(self) -> None:
        """Return at the next event, or at once when there was one since the last call."""
        await trio.lowlevel.wait_readable(self._fd)
        with suppress(BlockingIOError):
            while os.read(self._fd, _READ_SIZE):
                pass

    def close(self) -> None:
        os.close(self._fd)

    def _add(self, path: Path, events: int) -> None:
        _check(int(self._libc.inotify_add_watch(self._fd, os.fsencode(path), events)))


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
