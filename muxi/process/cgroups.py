"""Control groups of our own: one for each process that we keep, below one of the server's.

    <the server's own group>/muxi-<installation>/<process>-<token's hash>-<random>

What a group can do here is tried out once at the start, not guessed: in a container the files may
be read-only, and outside of one systemd may not have delegated the group to us. Version 2 allows
no processes in a group that has controlled ones below it; so there the server moves itself into a
group `server` first.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from muxi.process import cgroup_layout as layout
from muxi.process.limits import NO_LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from muxi.process.cgroup_layout import Hierarchy

LEAF: Final = "server"
"""The group that the server itself is in, in version 2; systemd's DelegateSubgroup may name it."""
TRIAL: Final = Limits(memory=1024**3, cpu=1.0, processes=1000)
SYSTEMD: Final = Path("/run/systemd/system")
_READ_SIZE: Final = 1024 * 1024


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
            _write(place.directory / "cgroup.procs", str(pid))

    def processes(self) -> set[int]:
        """Return who is in it. Nobody when it is gone."""
        for place in self.places:
            with suppress(OSError):
                return {int(line) for line in _read(place.directory / "cgroup.procs").split()}
        return set()

    def oom_kills(self) -> int:
        """Return how many of its processes have been killed for want of memory."""
        return self._count_kills() - self._kills_before

    def kill(self) -> None:
        """Kill all in it at one blow, also what is just being forked, where the kernel can (5.14)."""
        for place in self.places:
            if place.version == 2:
                with suppress(OSError):
                    _write(place.directory / "cgroup.kill", "1")

    def remove(self) -> bool:
        """Remove it; False when somebody is in it still."""
        gone = [_remove(place.directory) for place in self.places]
        return all(gone)

    def _count_kills(self) -> int:
        for place in self.places:
            if "memory" in place.controllers:
                with suppress(OSError):
                    return layout.oom_kills(_read(place.directory / layout.oom_file(place.version)))
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
        return Group(_make(self.places, f"{name}-{secrets.token_hex(4)}", limits))

    def find(self, pid: int, name: str) -> Group | None:
        """Return the group made for `name` that a process is in; an earlier server made it (blocking)."""
        try:
            paths = layout.memberships(_read(Path(f"/proc/{pid}/cgroup")))
        except OSError:
            return None
        found = []
        for tree in self.trees:
            path = paths.get(next(iter(tree.controllers), "") if tree.version == 1 else "", "")
            directory = tree.locate(path)
            if path.rpartition("/")[2].rpartition("-")[0] == name and directory is not None:
                found.append(Place(tree.version, directory, _controllers(tree, directory)))
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
                removed += sum(_remove(path) for path in old)
        return removed

    def close(self) -> None:
        """Leave nothing in the tree of groups, when nothing runs any more (blocking)."""
        self.sweep()
        for place in self.places:
            _remove(place.directory)


def installation(data_directory: Path) -> str:
    """Name a server by where its data lies: at one place there is one at a time."""
    return hashlib.sha256(os.fsencode(data_directory)).hexdigest()[:12]


def detect(name: str, proc: Path = Path("/proc")) -> Groups:
    """Find out, by trying, what control groups can do for us here (blocking). Never raises.

    `name` tells this server's groups from those of another one on this machine, and is the same at
    its next start (`installation`).
    """
    try:
        trees = layout.hierarchies(_read(proc / "self/cgroup"), _read(proc / "self/mountinfo"))
    except OSError:
        return Groups(note="there are no control groups here")
    places, notes = [], []
    for tree in trees:
        try:
            place = _prepare(tree, f"muxi-{name}")
        except OSError as error:
            notes.append(f"cgroup v{tree.version}: {error.strerror or error}")
        else:
            if place is not None:
                places.append(place)
    return Groups(tuple(places), "; ".join(dict.fromkeys(notes)), tuple(trees))


def _prepare(tree: Hierarchy, name: str) -> Place | None:
    own = tree.locate(tree.own)
    if own is None:
        raise OSError(errno.ENOENT, "our own group is outside of what is mounted here")
    if tree.version == 1:
        base, controllers = own / name, tree.controllers
        base.mkdir(exist_ok=True)
    else:
        controllers = _offered(own)
        if not controllers:
            return None
        parent = own.parent if own.name == LEAF and _offered(own.parent) else own
        _open_up(parent, controllers, move=parent == own)
        base = parent / name
        base.mkdir(exist_ok=True)
        _enable(base, controllers)
    place = Place(tree.version, base, controllers)
    for made in _make((place,), f"trial-{os.getpid()}", TRIAL):
        _remove(made.directory)
    return place


def _offered(directory: Path) -> frozenset[str]:
    try:
        return frozenset(_read(directory / "cgroup.controllers").split()) & set(layout.CONTROLLERS)
    except OSError:
        return frozenset()


def _controllers(tree: Hierarchy, directory: Path) -> frozenset[str]:
    return tree.controllers if tree.version == 1 else _offered(directory)


def _open_up(parent: Path, controllers: frozenset[str], *, move: bool) -> None:
    """Let groups below `parent` be controlled, which must be ours to arrange, and without processes."""
    if SYSTEMD.is_dir() and not _delegated(parent):
        raise OSError(errno.EPERM, "systemd has not delegated our group to us (Delegate=yes in the unit)")
    if not move or not (parent / "cgroup.type").exists():  # the root of all may have processes
        return _enable(parent, controllers)
    leaf, ours = parent / LEAF, str(os.getpid())
    leaf.mkdir(exist_ok=True)
    try:
        _write(leaf / "cgroup.procs", ours)
        _enable(parent, controllers)
    except OSError:
        with suppress(OSError):
            _write(parent / "cgroup.procs", ours)
        _remove(leaf)
        raise


def _delegated(directory: Path) -> bool:
    """Ask for the mark that systemd leaves on what it delegates (its CGROUP_DELEGATION document)."""
    for mark in ("user.delegate", "trusted.delegate"):
        with suppress(OSError):
            return os.getxattr(directory, mark) == b"1"
    return False


def _enable(directory: Path, controllers: frozenset[str]) -> None:
    _write(directory / "cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(controllers)))


def _make(places: Iterable[Place], name: str, limits: Limits = NO_LIMITS) -> list[Place]:
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
            _remove(inside.directory)
        raise
    return made


def _set(directory: Path, setting: layout.Setting) -> None:
    try:
        _write(directory / setting.file, setting.value)
    except OSError:
        if setting.required:
            raise


def _remove(directory: Path) -> bool:
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _read(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, _READ_SIZE).decode(errors="replace")
    finally:
        os.close(descriptor)


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
