"""inotify(7): events when files are written or replaced. Linux only; Python has no binding for it."""

from __future__ import annotations

import ctypes
import os
import struct
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

IN_Q_OVERFLOW = 0x4000

_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name behind it
_READ_SIZE = 16 * 1024


class _Watch:
    """One inotify instance. Raises OSError where there is none, or none left to have."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        try:
            self._fd = int(self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        except AttributeError:
            raise OSError("this system has no inotify") from None
        _check(self._fd)

    def close(self) -> None:
        os.close(self._fd)

    def _add(self, path: Path, events: int) -> None:
        _check(int(self._libc.inotify_add_watch(self._fd, os.fsencode(path), events)))

    async def _events(self) -> bytes:
        """Return what has come, up to a block of it, as soon as there is something."""
        await trio.lowlevel.wait_readable(self._fd)
        with suppress(BlockingIOError):
            return os.read(self._fd, _READ_SIZE)
        return b""

    def _drain(self) -> bool:
        """Throw away what has come since; tell whether there was anything."""
        found = False
        with suppress(BlockingIOError):
            while os.read(self._fd, _READ_SIZE):
                found = True
        return found


class FileWatch(_Watch):
    """Tells when the file of a name may have changed; also of its creation and replacement.

    Its directory must exist. Raises OSError where there is no inotify, or no watch left to have
    (`fs.inotify.max_user_instances`). Wake-ups may be spurious; no change is missed when the
    file is read after `arm` and after each `wait`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
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
        await self._events()
        self._drain()


class DirectoryWatch(_Watch):
    """Tells which files of a directory were written to. Raises OSError as `FileWatch` does."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        try:
            self._add(directory, IN_MODIFY | DIRECTORY_EVENTS)
        except OSError:
            self.close()
            raise

    async def wait(self) -> set[str] | None:
        """Return the names of files written to since the last call, once there are any.

        None stands for any of them: more has happened than is worth taking apart.
        """
        events = await self._events()
        return None if self._drain() else _names(events)


def _names(events: bytes) -> set[str] | None:
    """Read the names from `struct inotify_event`s; None when the queue has overflowed."""
    names, position = set(), 0
    while position < len(events):
        _, mask, _, length = _EVENT.unpack_from(events, position)
        position += _EVENT.size
        if mask & IN_Q_OVERFLOW:
            return None
        names.add(os.fsdecode(events[position : position + length].rstrip(b"\0")))
        position += length
    return names


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
