"""Whether the files that a developer edits have changed, anywhere below a directory. Linux only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from muxi.process import inotify
from muxi.process.inotify import Event, Inotify

if TYPE_CHECKING:
    from collections.abc import Iterator

IGNORED_DIRECTORIES = frozenset({"node_modules", "__pycache__", "state", "logs"})
IGNORED_SUFFIXES = (".pyc", ".log", ".tmp", ".swp", "~", ".db", ".db-wal", ".db-shm", ".db-journal")
"""What programs and editors write on their own; a restart for it would never end."""
MOST_DIRECTORIES = 5000
SETTLE_SECONDS = 0.3
"""An editor, or a checkout, writes many files at once: the pause after which they count as one."""

_WRITTEN = inotify.IN_CLOSE_WRITE | inotify.IN_MOVED_TO | inotify.IN_MOVED_FROM | inotify.IN_DELETE
_MADE = inotify.IN_CREATE | inotify.IN_MOVED_TO
_EVENTS = _WRITTEN | inotify.IN_CREATE


class TreeWatch:
    """Watches all directories below `root` but hidden ones and those that tools fill.

    Raises OSError where there is no inotify, or too few watches (`fs.inotify.max_user_watches`).
    """

    def __init__(self, root: Path) -> None:
        self._directories: dict[int, Path] = {}
        self._inotify = Inotify()
        try:
            self._add(root)
        except OSError:
            self.close()
            raise

    async def changed(self) -> None:
        """Return once something was written, moved or removed, and then nothing for a moment."""
        while not self._count(await self._inotify.wait()):
            pass
        settled = False
        while not settled:
            with trio.move_on_after(SETTLE_SECONDS) as pause:
                self._count(await self._inotify.wait())
            settled = pause.cancelled_caught

    def close(self) -> None:
        self._inotify.close()

    def _count(self, events: list[Event]) -> bool:
        """Say whether any of these is of interest; directories that are new are watched from now on."""
        wanted = [event for event in events if not _ignored(event.name)]
        grown = [self._grow(event) for event in wanted if event.mask & _MADE]
        return any(grown) or any(event.mask & _WRITTEN for event in wanted)

    def _grow(self, event: Event) -> bool:
        parent = self._directories.get(event.watch)
        if parent is None or not event.name or not (parent / event.name).is_dir():
            return False
        self._add(parent / event.name)
        return True

    def _add(self, root: Path) -> None:
        for directory in _directories(root):
            if len(self._directories) >= MOST_DIRECTORIES:
                raise OSError(f"there are more than {MOST_DIRECTORIES} directories below {root}")
            self._directories[self._inotify.add(directory, _EVENTS)] = directory


def _directories(root: Path) -> Iterator[Path]:
    for path, names, _files in os.walk(root):
        names[:] = [name for name in names if not _ignored(name)]
        yield Path(path)


def _ignored(name: str) -> bool:
    return name.startswith(".") or name in IGNORED_DIRECTORIES or name.endswith(IGNORED_SUFFIXES)
