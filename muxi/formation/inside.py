"""Files below a directory that strangers write in, without ever leaving it.

Every part of a path is opened from the directory before it, and a link in the place of a directory
or a file is refused: neither a link that is there nor one that is put there in the meantime leads out
(openat(2) with O_NOFOLLOW). Paths are tuples of plain names, as `clean_path` makes them.
"""

from __future__ import annotations

import errno
import os
import posixpath
import secrets
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from muxi.errors import NotFound, RequestError
from muxi.formation.members import DIRECTORY_MODE, MAX_COMPONENT, MAX_DEPTH, MAX_PATH, file_mode
from muxi.formation.refusal import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Parts = tuple[str, ...]

_NO_FOLLOW = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY = os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_DIRECTORY", 0)
# Not to wait for a pipe's other end, should one be there.
_READ = os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0)
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW

_WRONG_KIND = frozenset(
    {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENXIO}
)
UNUSABLE_NAME = frozenset({errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL})
"""What the system says of a name that this file system can't have."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a directory; `size` is in bytes, None for what is not a file."""

    name: str
    kind: Literal["file", "dir", "link", "other"]
    size: int | None = None


def clean_path(text: str) -> Parts:
    """Return a path's parts; none for the top, which `/` also means. Raises RequestError (InvalidPath)."""
    lead = "/" if text.startswith("/") else ""
    path = posixpath.normpath(lead + text.lstrip("/"))
    if path.startswith(".."):
        raise bad_path(text, "points outside")
    if not path.isprintable() or "\\" in path:
        raise bad_path(text, "has a character that no file name here may have")
    parts = tuple(part for part in path.split("/") if part not in {"", "."})
    lengths = [len(part.encode("utf-8", "surrogatepass")) for part in parts]
    if (
        sum(lengths) + len(parts) > MAX_PATH
        or len(parts) > MAX_DEPTH
        or max(lengths, default=0) > MAX_COMPONENT
    ):
        raise bad_path(text, "is too long or too deep")
    return parts


def bad_path(path: str, why: str) -> RequestError:
    return RequestError(
        f"The path '{shown(path)}' {why}.",
        code="InvalidPath",
        cure="Give a path below the draft, for example agents/helper.afs.",
    )


def list_directory(root: Path, parts: Parts) -> list[Entry]:
    """Return what is in a directory, sorted by name. Raises NotFound, RequestError, OSError."""
    with _directory(root, parts) as fd, os.scandir(fd) as found:
        return sorted((_entry(item) for item in found), key=lambda entry: entry.name)


def read_file(root: Path, parts: Parts, max_size: int) -> bytes:
    """Return a file's bytes. Raises NotFound, RequestError (InvalidPath, TooLarge), OSError."""
    with _directory(root, parts[:-1]) as directory, _explained(parts):
        fd = os.open(_name(parts), _READ, dir_fd=directory)
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise bad_path("/".join(parts), "is not a file")
            data = file.read(max_size + 1)
    if len(data) > max_size:
        raise RequestError(
            f"'{shown('/'.join(parts))}' has more than {max_size:,} bytes, too many for one answer.",
            code="FileTooLarge",
            status=413,
        )
    return data


def write_file(root: Path, parts: Parts, data: bytes, tmp: Path) -> None:
    """Make or replace a file in one step; missing directories are made.

    It is written in `tmp`, on the same file system. Files that hold secrets are 0600; another that is
    there keeps its x bit. Raises RequestError, OSError.
    """
    name = _name(parts)
    temporary = tmp / f"draft.{secrets.token_hex(8)}.file"
    with _directory(root, parts[:-1], make=True) as directory, _explained(parts):
        mode = file_mode(name, _old_mode(directory, name))
        fd = os.open(temporary, _MAKE, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(fd, mode)
                os.fsync(fd)
            os.rename(temporary, name, dst_dir_fd=directory)
        except BaseException:
            temporary.unlink()
            raise
        os.fsync(directory)


def move_out(root: Path, parts: Parts, target: Path) -> None:
    """Move a file, a link itself, or a directory with all below it to `target`. Raises NotFound, OSError."""
    with _directory(root, parts[:-1]) as directory, _explained(parts):
        os.rename(_name(parts), target, src_dir_fd=directory)
        os.fsync(directory)


@contextmanager
def _directory(root: Path, parts: Parts, *, make: bool = False) -> Iterator[int]:
    """Give a descriptor of a directory below `root`."""
    fd = os.open(root, _DIRECTORY)
    try:
        for depth, part in enumerate(parts):
            with _explained(parts[: depth + 1], wanted="a directory"):
                inner = _open_directory(fd, part, make)
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)


def _open_directory(parent: int, name: str, make: bool) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        if not make:
            raise
    try:
        os.mkdir(name, DIRECTORY_MODE, dir_fd=parent)
        os.fsync(parent)
    except FileExistsError:  # somebody else was faster
        pass
    return os.open(name, _DIRECTORY, dir_fd=parent)


@contextmanager
def _explained(parts: Parts, wanted: str = "a file") -> Iterator[None]:
    """Turn what the system says of a path into what the caller can be told."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"There is no '{shown('/'.join(parts))}' in the draft.", code="FileNotFound") from None
    except OSError as error:
        if error.errno in {
            errno.ELOOP,
            errno.ENOTDIR,
            errno.EISDIR,
            errno.EEXIST,
            errno.ENOTEMPTY,
            errno.ENXIO,
        }:
            raise bad_path("/".join(parts), f"is not {wanted}") from None
        if error.errno in UNUSABLE_NAME:
            raise bad_path("/".join(parts), "can't be a file name here") from None
        raise


def _name(parts: Parts) -> str:
    if not parts:
        raise bad_path("/", "is the draft itself")
    return parts[-1]


def _old_mode(directory: int, name: str) -> int:
    try:
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return 0
    return mode if stat.S_ISREG(mode) else 0


def _entry(item: os.DirEntry[str]) -> Entry:
    if item.is_symlink():
        return Entry(item.name, "link")
    if item.is_dir(follow_symlinks=False):
        return Entry(item.name, "dir")
    if item.is_file(follow_symlinks=False):
        return Entry(item.name, "file", item.stat(follow_symlinks=False).st_size)
    return Entry(item.name, "other")
