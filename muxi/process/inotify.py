"""inotify(7): events when files are written or replaced. Linux only; Python has no binding for it."""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import trio

if TYPE_CHECKING:
    from pathlib import Path

IN_MODIFY = 0x002
IN_ATTRIB = 0x004
IN_CLOSE_WRITE = 0x008
IN_MOVED_FROM = 0x040
IN_MOVED_TO = 0x080
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_MOVE_SELF = 0x800
FILE_EVENTS = IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF  # ATTRIB tells of a removal, too (link count)
DIRECTORY_EVENTS = IN_CREATE | IN_MOVED_TO

IN_Q_OVERFLOW = 0x4000

_READ_SIZE = 64 * 1024
_HEAD = struct.Struct("iIII")


class Event(NamedTuple):
    """What happened to `name` in the watched directory `watch`; "" is what is watched itself."""

    watch: int
    mask: int
    name: str


class Inotify:
    """One inotify descriptor. Raises OSError where there is none to have."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        try:
            self._fd = _check(int(self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)))
        except AttributeError:
            raise OSError("this system has no inotify") from None

    def add(self, path: Path, events: int) -> int:
        """Watch a file or directory, and return by which number events name it. Raises OSError."""
        return _check(int(self._libc.inotify_add_watch(self._fd, os.fsencode(path), events)))

    async def wait(self) -> list[Event]:
        """Return the events there are, as soon as there is one."""
        await trio.lowlevel.wait_readable(self._fd)
        events: list[Event] = []
        with suppress(BlockingIOError):
            while data := os.read(self._fd, _READ_SIZE):
                events += _events(data)
        return events

    def close(self) -> None:
        os.close(self._fd)


class FileWatch:
    """Tells when the file of a name may have changed; also of its creation and replacement.

    Its directory must exist. Raises OSError where there is no inotify, or no watch left to have
    (`fs.inotify.max_user_instances`). Wake-ups may be spurious; no change is missed when the
    file is read after `arm` and after each `wait`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inotify = Inotify()
        try:
            self._inotify.add(path.parent, DIRECTORY_EVENTS)
        except OSError:
            self.close()
            raise
        self.arm()

    def arm(self) -> None:
        """Watch the file that has the name now, if any. Call it again when it was replaced."""
        with suppress(OSError):  # not there: its directory's watch will tell when it comes
            self._inotify.add(self._path, FILE_EVENTS)

    async def wait(self) -> None:
        """Return at the next event, or at once when there was one since the last call."""
        await self._inotify.wait()

    def close(self) -> None:
        self._inotify.close()


class DirectoryWatch:
    """Tells which files of a directory were written to. Raises OSError as `FileWatch` does."""

    def __init__(self, directory: Path) -> None:
        self._inotify = Inotify()
        try:
            self._inotify.add(directory, IN_MODIFY | DIRECTORY_EVENTS)
        except OSError:
            self.close()
            raise

    async def wait(self) -> set[str] | None:
        """Return the names of files written to since the last call, once there are any.

        None stands for any of them: more has happened than the kernel could keep.
        """
        events = await self._inotify.wait()
        if any(event.mask & IN_Q_OVERFLOW for event in events):
            return None
        return {event.name for event in events}

    def close(self) -> None:
        self._inotify.close()


def _events(data: bytes) -> list[Event]:
    events, at = [], 0
    while at < len(data):
        watch, mask, _cookie, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        events.append(Event(watch, mask, os.fsdecode(data[at : at + length].rstrip(b"\0"))))
        at += length
    return events


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
