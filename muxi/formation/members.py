"""Which members of an archive become files, where, and with which mode. Pure: it opens nothing.

Taken are regular files and directories with plain relative names. Everything else is refused, not
skipped: a bundle that loses a file on the way in would fail later, and nobody would know why.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muxi.formation.refusal import refused, shown

if TYPE_CHECKING:
    from muxi.config.model import BundleLimits
    from muxi.errors import BundleError
    from muxi.formation.tar import Member

MAX_COMPONENT = 255
"""Bytes in one part of a name, as file systems have it."""
MAX_PATH = 1024
"""Bytes in a whole name; more could not be opened below the data directory everywhere."""
MAX_DEPTH = 100

DIRECTORY_MODE = 0o755
_SECRET_NAME = re.compile(r"\.key|secrets\.enc|\.env(\..*)?", re.IGNORECASE | re.DOTALL)
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a member goes below the destination (parts joined by `/`), and with which mode."""

    path: str
    is_directory: bool
    mode: int


class MemberPolicy:
    """Judges the members of one archive in their order, and remembers the names it has taken."""

    def __init__(self, limits: BundleLimits) -> None:
        self._limits = limits
        self._members = 0
        self._total_size = 0
        self._kinds: dict[str, bool] = {}  # path → whether it is a directory
        self._folded: dict[str, str] = {}  # path without case and form → the path it was taken for

    def judge(self, member: Member) -> Placement | None:
        """Return where a member goes, None for the top directory's own entry. Raises BundleError."""
        self._count(member)
        if member.kind not in {"file", "directory"}:
            raise _bad(
                member.name,
                f"is a {member.kind}; only regular files and directories can be deployed",
                "Put a copy of the file in its place (cp -rL copies what links point to).",
            )
        path = _path(member)
        if not path:
            if member.kind == "directory":
                return None
            raise _bad(member.name, "has no name")
        is_directory = member.kind == "directory"
        self._claim(path, member.name, is_directory)
        return Placement(path, is_directory, DIRECTORY_MODE if is_directory else file_mode(path, member.mode))

    def _count(self, member: Member) -> None:
        limits = self._limits
        self._members += 1
        self._total_size += member.size
        if self._members > limits.max_members:
            raise _over(f"it has more than {limits.max_members:,} members", "max_members", member.name)
        if member.size > limits.max_file_size:
            reason = f"'{shown(member.name)}' has {member.size:,} bytes, more than {limits.max_file_size:,}"
            raise _over(reason, "max_file_size", member.name)
        if self._total_size > limits.max_total_size:
            reason = f"its files have more than {limits.max_total_size:,} bytes together"
            raise _over(reason, "max_total_size", member.name)

    def _claim(self, path: str, name: str, is_directory: bool) -> None:
        """Take a path and the directories above it, or refuse because something is there already."""
        parts = path.split("/")
        for depth in range(1, len(parts)):
            self._take("/".join(parts[:depth]), name, True)
        if not is_directory and path in self._kinds:
            raise _bad(name, "is in the archive twice")
        self._take(path, name, is_directory)

    def _take(self, path: str, name: str, is_directory: bool) -> None:
        known = self._kinds.get(path)
        if known is not None:
            if known != is_directory:
                raise _bad(name, f"needs '{shown(path)}' to be a file and a directory at once")
            return
        twin = self._folded.setdefault(_fold(path), path)
        if twin != path:
            raise _bad(
                name,
                f"differs from '{shown(twin)}' only in case or Unicode form; not every disk tells them apart",
                "Rename one of the two.",
            )
        self._kinds[path] = is_directory
        if len(self._kinds) > self._limits.max_members:
            reason = f"it makes more than {self._limits.max_members:,} files and directories"
            raise _over(reason, "max_members", name)


def holds_secrets(path: str) -> bool:
    """Say whether a file of this name holds secrets, encrypted or not, or the key to them."""
    return _SECRET_NAME.fullmatch(path.rsplit("/", 1)[-1]) is not None


def file_mode(path: str, archive_mode: int) -> int:
    """Keep the owner's x bit and nothing else; files that hold secrets are the owner's alone."""
    if holds_secrets(path):
        return 0o600
    return 0o755 if archive_mode & 0o100 else 0o644


def _path(member: Member) -> str:
    """Return the name without empty and `.` parts, or refuse it."""
    name = member.name
    if name.startswith("/") or _DRIVE.match(name):
        raise _bad(name, "is an absolute path", "Pack the directory by a relative name.")
    if not name.isprintable() and any(unicodedata.category(character) == "Cc" for character in name):
        raise _bad(name, "has a control character in its name")
    if "\\" in name:
        raise _bad(name, "has a backslash in its name, which is a separator on some systems")
    if member.kind == "file" and name.endswith("/"):
        raise _bad(name, "is a file with a directory's name")
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise _bad(name, "points outside of the bundle", "Pack the directory by a name without '..'.")
    path = "/".join(parts)
    if len(path.encode()) > MAX_PATH or len(parts) > MAX_DEPTH:
        raise _bad(name, f"has a name longer than {MAX_PATH} bytes or deeper than {MAX_DEPTH} directories")
    if any(len(part.encode()) > MAX_COMPONENT for part in parts):
        raise _bad(name, f"has a part longer than {MAX_COMPONENT} bytes in its name")
    return path


def _fold(path: str) -> str:
    """Make equal what differs in case or normal form only (Unicode 3.13, D146)."""
    decomposed = unicodedata.normalize("NFD", path).casefold()
    return unicodedata.normalize("NFD", decomposed)


def _bad(name: str, what: str, cure: str = "Leave it out, or rename it.") -> BundleError:
    return refused(f"'{shown(name)}' {what}.", member=name, cure=cure)


def _over(reason: str, limit: str, name: str) -> BundleError:
    return refused(
        f"{reason}.",
        member=name,
        cure=f"Leave out what the formation does not need, or raise formations.bundle.{limit}.",
    )
