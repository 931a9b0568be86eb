"""Finding out what control groups can do for us on this machine: by trying, once, at the start.

In a container their files may be read-only, and outside of one systemd may not have delegated our
group to us. Version 2 allows no processes in a group that has controlled ones below it; so there the
server moves itself into a group `server` first.
"""

from __future__ import annotations

import errno
import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from muxi.process import cgroup_files as files
from muxi.process import cgroup_layout as layout
from muxi.process.cgroups import Groups, Place, make_in, offered
from muxi.process.limits import Limits

if TYPE_CHECKING:
    from muxi.process.cgroup_layout import Hierarchy

LEAF: Final = "server"
"""The group that the server itself is in, in version 2; systemd's DelegateSubgroup may name it."""
TRIAL: Final = Limits(memory=1024**3, cpu=1.0, processes=1000)
SYSTEMD: Final = Path("/run/systemd/system")


def installation(data_directory: Path) -> str:
    """Name a server by where its data lies: at one place there is one at a time."""
    return hashlib.sha256(os.fsencode(data_directory)).hexdigest()[:12]


def detect(name: str, proc: Path = Path("/proc")) -> Groups:
    """Find out, by trying, what control groups can do for us here (blocking). Never raises.

    `name` tells this server's groups from those of another one on this machine, and is the same at
    its next start (`installation`).
    """
    try:
        trees = layout.hierarchies(files.read(proc / "self/cgroup"), files.read(proc / "self/mountinfo"))
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
        controllers = offered(own)
        if not controllers:
            return None
        parent = own.parent if own.name == LEAF and offered(own.parent) else own
        _open_up(parent, controllers, move=parent == own)
        base = parent / name
        base.mkdir(exist_ok=True)
        _enable(base, controllers)
    place = Place(tree.version, base, controllers)
    for made in make_in((place,), f"trial-{os.getpid()}", TRIAL):
        files.remove(made.directory)
    return place


def _open_up(parent: Path, controllers: frozenset[str], *, move: bool) -> None:
    """Let groups below `parent` be controlled, which must be ours to arrange, and without processes."""
    if SYSTEMD.is_dir() and not _delegated(parent):
        raise OSError(errno.EPERM, "systemd has not delegated our group to us (Delegate=yes in the unit)")
    if not move or not (parent / "cgroup.type").exists():  # the root of all may have processes
        return _enable(parent, controllers)
    leaf, ours = parent / LEAF, str(os.getpid())
    leaf.mkdir(exist_ok=True)
    try:
        files.write(leaf / "cgroup.procs", ours)
        _enable(parent, controllers)
    except OSError:
        with suppress(OSError):
            files.write(parent / "cgroup.procs", ours)
        files.remove(leaf)
        raise


def _delegated(directory: Path) -> bool:
    """Ask for the mark that systemd leaves on what it delegates (its CGROUP_DELEGATION document)."""
    for mark in ("user.delegate", "trusted.delegate"):
        with suppress(OSError):
            return os.getxattr(directory, mark) == b"1"
    return False


def _enable(directory: Path, controllers: frozenset[str]) -> None:
    files.write(directory / "cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(controllers)))
