"""Packing a directory into the bundle that the server takes: a gzip tar, names `{id}/{path}`.

What is left out is what the `muxi` client leaves out (files that are made, private or of the
editor), and Python environments, which would be of no use elsewhere.
"""

from __future__ import annotations

import fnmatch
import gzip
import os
import tarfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from muxi.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEFT_OUT = (
    ".git", ".muxi", "secrets", ".env", ".env.*", "node_modules", "__pycache__", "*.pyc", ".DS_Store",
    "*.log", "*.tmp", ".vscode", ".idea", "memory.db", "memory.db-wal", "memory.db-shm",
    ".mypy_cache", ".pytest_cache", ".ruff_cache",
)  # fmt: skip
ENVIRONMENT_MARK = "pyvenv.cfg"


@dataclass(frozen=True, slots=True)
class Packed:
    """What went into a bundle: the number of files, and their size in bytes before packing."""

    files: int
    size: int

    @property
    def counted(self) -> str:
        return "1 file" if self.files == 1 else f"{self.files} files"


def pack(directory: Path, formation_id: str, target: IO[bytes]) -> Packed:
    """Write the bundle of a directory to `target`, a piece at a time, never whole in memory.

    The same files give the same bytes. Raises RequestError when the directory holds a link, socket
    or the like, which no bundle may, and OSError.
    """
    files, size = 0, 0
    with (
        gzip.GzipFile(fileobj=target, mode="wb", filename="", mtime=0) as packed,
        # dereference: a hard link is packed as the file it is; symbolic ones never come here
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT, dereference=True) as tar,
    ):
        for path in walk(directory):
            name = f"{formation_id}/{path.relative_to(directory).as_posix()}"
            member = _anonymous(tar.gettarinfo(path, name))
            if not member.isfile():
                tar.addfile(member)
                continue
            with path.open("rb") as file:
                tar.addfile(member, file)
            files, size = files + 1, size + member.size
    return Packed(files, size)


def walk(directory: Path) -> Iterator[Path]:
    """Yield the files and directories that belong in a bundle, sorted, parents first."""
    with os.scandir(directory) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        path = directory / entry.name
        if _left_out(entry.name, path):
            continue
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            kind = "a symbolic link" if entry.is_symlink() else "neither a file nor a directory"
            raise RequestError(
                f"{path} is {kind}; a bundle holds files and directories only.",
                code="BundleError",
                cure="Put a copy of the file in its place, or move it out of the directory.",
            )
        yield path
        if entry.is_dir():
            yield from walk(path)


def _left_out(name: str, path: Path) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in LEFT_OUT) or (
        (path / ENVIRONMENT_MARK).is_file()
    )


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Take out whose files they were."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = int(member.mtime)
    return member
