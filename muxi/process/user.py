"""The user of the system that a process runs as, and what of our files that user gets.

Only root can start processes as somebody else. What is ours stays ours: a release is lent to the
user's group, for reading; state and temporary files become the user's own. Directories on the
way may be passed through by everybody, and listed by nobody.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muxi.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PASS = stat.S_IXOTH


@dataclass(frozen=True, slots=True)
class User:
    """A user, with the trees that it reads and those that it owns, all below `base`, which is ours."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    base: Path
    reads: tuple[Path, ...] = ()
    owns: tuple[Path, ...] = ()


def hand_over(user: User) -> None:
    """Give the user what it needs to run (blocking).

    A tree that a process of that user changes meanwhile can't lead us out of it: no link is
    followed, and a file with a second name is left alone. Raises OSError, and OperatorError when the
    user can't get there.
    """
    _check_way(user)
    for tree in (*user.reads, *user.owns):
        _open_way(user.base, tree)
    for tree in user.reads:
        if not _is_lent(tree, user.gid):
            _lend(tree, user.gid)
    for tree in user.owns:
        _give(tree, user)


def _check_way(user: User) -> None:
    for ancestor in user.base.parents:
        if not ancestor.stat().st_mode & _PASS:
            raise OperatorError(
                f"The user '{user.name}' can't reach {user.base}: {ancestor} is closed to others.",
                code="UserError",
                stage="spawning",
                cure="Let the data directory be elsewhere (MUXI_DATA_DIR), /var/lib/muxi for example.",
            )


def _open_way(base: Path, tree: Path) -> None:
    for directory in reversed(tree.parents):
        if directory.is_relative_to(base):
            mode = stat.S_IMODE(directory.stat().st_mode)
            if not mode & _PASS:
                directory.chmod(mode | _PASS)


def _lend(tree: Path, gid: int) -> None:
    for name, place, found in _walk(tree):
        os.chown(name, -1, gid, dir_fd=place, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            os.chmod(name, _readable(found.st_mode), dir_fd=place)


def _give(tree: Path, user: User) -> None:
    for name, place, found in _walk(tree):
        if (found.st_uid, found.st_gid) != (user.uid, user.gid):
            os.chown(name, user.uid, user.gid, dir_fd=place, follow_symlinks=False)


def _is_lent(tree: Path, gid: int) -> bool:
    """Say whether the group may read a tree: its top is the last that is lent."""
    found = tree.stat()
    return found.st_gid == gid and bool(found.st_mode & stat.S_IXGRP)


def _readable(mode: int) -> int:
    executable = stat.S_ISDIR(mode) or mode & stat.S_IXUSR
    return stat.S_IMODE(mode) | stat.S_IRGRP | (stat.S_IXGRP if executable else 0)


def _walk(tree: Path) -> Iterator[tuple[str, int, os.stat_result]]:
    """Yield all in a tree, the top last, as names below an open directory."""
    for _, directories, files, place in os.fwalk(tree, topdown=False):
        for name in (*files, *directories):
            found = os.stat(name, dir_fd=place, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode) or found.st_nlink == 1:
                yield name, place, found
    above = os.open(tree.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield tree.name, above, tree.lstat()
    finally:
        os.close(above)
