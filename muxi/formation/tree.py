"""The files below a directory as the members of a bundle, read without following a link."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from muxi.formation.tar import Member

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from muxi.formation.tar import MemberKind

LeftOut = Callable[[str], bool]

_READ = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class TreeReader:
    """Members in the order of their names, directories before what is in them.

    `left_out` is asked of each path below the root; nothing below a directory left out is looked at.
    Links and the like are members too, for the bundle's policy to refuse, unless `only_plain`: then
    they are passed over. `modified` is when the current member was last written, in Unix seconds.
    Raises OSError.
    """

    def __init__(self, root: Path, left_out: LeftOut, *, only_plain: bool = False) -> None:
        self._root = root
        self._left_out = left_out
        self._only_plain = only_plain
        self._open: tuple[str, int, int] | None = None  # the current member: name, directory, size
        self.modified = 0.0

    def __iter__(self) -> Iterator[Member]:
        for found in _walk(self._root, self._left_out):
            kind = _kind(found.status.st_mode)
            if self._only_plain and kind not in {"file", "directory"}:
                continue
            size = found.status.st_size if kind == "file" else 0
            self._open = (found.name, found.directory, size)
            self.modified = found.status.st_mtime
            yield Member(found.path, kind, size, stat.S_IMODE(found.status.st_mode))

    def content(self, piece: int) -> Iterator[bytes]:
        """Yield the current member's bytes, of one that grows meanwhile no more than it had."""
        assert self._open is not None
        name, directory, left = self._open
        with os.fdopen(os.open(name, _READ, dir_fd=directory), "rb", buffering=0) as file:
            while data := file.read(min(piece, left)):
                left -= len(data)
                yield data


def fingerprint(root: Path, left_out: LeftOut) -> frozenset[tuple[str, int, int, int]]:
    """Return what differs as soon as anything below `root` was changed. Raises OSError."""
    return frozenset(
        (found.path, found.status.st_ino, found.status.st_size, found.status.st_mtime_ns)
        for found in _walk(root, left_out)
        if not stat.S_ISDIR(found.status.st_mode)
    )


class _Found(NamedTuple):
    """A name in a directory that is open, its path below the top, and what it is."""

    name: str
    directory: int
    path: str
    status: os.stat_result


def _walk(root: Path, left_out: LeftOut) -> Iterator[_Found]:
    top = str(root)
    for directory, below, files, fd in os.fwalk(top, onerror=_raise, follow_symlinks=False):
        prefix = "" if directory == top else f"{os.path.relpath(directory, top)}/"
        below[:] = sorted(name for name in below if not left_out(prefix + name))
        for name in (*below, *sorted(name for name in files if not left_out(prefix + name))):
            with suppress(FileNotFoundError):  # gone meanwhile
                yield _Found(name, fd, prefix + name, os.stat(name, dir_fd=fd, follow_symlinks=False))


def _kind(mode: int) -> MemberKind:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "symbolic link" if stat.S_ISLNK(mode) else "special file"


def _raise(error: OSError) -> NoReturn:
    raise error
