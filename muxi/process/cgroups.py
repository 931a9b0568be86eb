"""Control groups of our own: one for each process that we keep, below one of the server's.

    <the server's own group>/muxi-<installation>/<process>-<token's hash>-<random>

`muxi.process.cgroup_trial` finds out whether that can be done.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from muxi.process import cgroup_files as files
from muxi.process import cgroup_layout as layout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from muxi.process.cgroup_layout import Hierarchy
    from muxi.process.limits import Limits


@dataclass(frozen=True, slots=True)
class Place:
    """A directory of groups, and the controllers that are in force in it."""

    version: int
    directory: Path
    controllers: frozenset[str]


class Group:
    """One process's group: a directory in each tree that has a controller for it."""

    def __init__(self, places: Iterable[Place]) -> None:
        self.places = tuple(places)
        self._kills_before = self._count_kills()

    def holds(self, controller: str) -> bool:
        return any(controller in place.controllers for place in self.places)

    def join(self, pid: int) -> None:
        """Move a process, but not its children, into the group. Raises OSError.

        It may take ten milliseconds, in which the kernel waits for all processors.
        """
        for place in self.places:
            files.write(place.directory / "cgroup.procs", str(pid))

    def processes(self) -> set[int]:
        """Return who is in it. Nobody when it is gone."""
        for place in self.places:
            with suppress(OSError):
                return {int(line) for line in files.read(place.directory / "cgroup.procs").split()}
        return set()

    def oom_kills(self) -> int:
        """Return how many of its processes have been killed for want of memory."""
        return self._count_kills() - self._kills_before

    def kill(self) -> None:
        """Kill all in it at one blow, also what is just being forked, where the kernel can (5.14)."""
        for place in self.places:
            if place.version == 2:
                with suppress(OSError):
                    files.write(place.directory / "cgroup.kill", "1")

    def remove(self) -> bool:
        """Remove it; False when somebody is in it still."""
        gone = [files.remove(place.directory) for place in self.places]
        return all(gone)

    def _count_kills(self) -> int:
        for place in self.places:
            if "memory" in place.controllers:
                with suppress(OSError):
                    return layout.oom_kills(files.read(place.directory / layout.oom_file(place.version)))
        return 0


@dataclass(slots=True)
class Groups:
    """The server's groups: where new ones are made. Without a place none are.

    `note` says why a controller that exists here can't be used.
    """

    places: tuple[Place, ...] = ()
    note: str = ""
    trees: tuple[Hierarchy, ...] = ()
    _left: list[Group] = field(default_factory=list)

    def version_of(self, controller: str) -> int | None:
        """Return which version holds a resource; None when none does."""
        return next((place.version for place in self.places if controller in place.controllers), None)

    def make(self, name: str, limits: Limits) -> Group | None:
        """Make a group for a process (blocking). Raises OSError; then nothing is left of it.

        Its name is one that there has not been, so that nobody removes it as an empty old one.
        """
        if not self.places:
            return None
        return Group(make_in(self.places, f"{name}-{secrets.token_hex(4)}", limits))

    def find(self, pid: int, name: str) -> Group | None:
        """Return the group made for `name` that a process is in; an earlier server made it (blocking)."""
        try:
            paths = layout.memberships(files.read(Path(f"/proc/{pid}/cgroup")))
        except OSError:
            return None
        found = []
        for tree in self.trees:
            path = paths.get(next(iter(tree.controllers), "") if tree.version == 1 else "", "")
            directory = tree.locate(path)
            if path.rpartition("/")[2].rpartition("-")[0] == name and directory is not None:
                found.append(Place(tree.version, directory, controllers_of(tree, directory)))
        return Group(found) if found else None

    def drop(self, group: Group) -> None:
        """Remove a group whose process has ended; when that is too early, at the next such call.

        Removing one takes a tenth of a millisecond, so it needs no thread.
        """
        self._left = [one for one in (*self._left, group) if not one.remove()]

    def sweep(self) -> int:
        """Remove the empty groups that an earlier server left (blocking); return how many."""
        removed = 0
        for place in self.places:
            with suppress(OSError):
                old = [path for path in place.directory.iterdir() if path.is_dir()]
                removed += sum(files.remove(path) for path in old)
        return removed

    def close(self) -> None:
        """Leave nothing in the tree of groups, when nothing runs any more (blocking)."""
        self.sweep()
        for place in self.places:
            files.remove(place.directory)


def make_in(places: Iterable[Place], name: str, limits: Limits) -> list[Place]:
    """Make one group in several places. Raises OSError; then nothing is left of it."""
    made: list[Place] = []
    try:
        for place in places:
            inside = Place(place.version, place.directory / name, place.controllers)
            inside.directory.mkdir()
            made.append(inside)
            for controller in sorted(place.controllers):
                for setting in layout.settings(place.version, controller, limits):
                    _set(inside.directory, setting)
    except OSError:
        for inside in made:
            files.remove(inside.directory)
        raise
    return made


def _set(directory: Path, setting: layout.Setting) -> None:
    try:
        files.write(directory / setting.file, setting.value)
    except OSError:
        if setting.required:
            raise


def offered(directory: Path) -> frozenset[str]:
    """Return which of `CONTROLLERS` a group of version 2 has."""
    try:
        return frozenset(files.read(directory / "cgroup.controllers").split()) & set(layout.CONTROLLERS)
    except OSError:
        return frozenset()


def controllers_of(tree: Hierarchy, directory: Path) -> frozenset[str]:
    """Return which controllers are in force in a group."""
    return tree.controllers if tree.version == 1 else offered(directory)
