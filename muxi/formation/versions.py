"""version.json: which release of a formation is the current one. Format: http-api.md section 3."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from muxi.errors import StorageError
from muxi.files import PRIVATE_FILE, atomic_write

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "version.json"


class VersionEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One release. `deployed_at` is RFC 3339; `semantic` and `content_hash` are additions of ours."""

    version: int
    deployed_at: str
    bundle_hash: str
    backup_path: str = ""
    semantic: str = ""
    content_hash: str = ""


class VersionFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole file. The numbers repeat those of the entries, as existing tools read them."""

    current_version: int
    current: VersionEntry
    previous_version: int | None = None
    previous: VersionEntry | None = None


def committed(found: VersionFile | None, entry: VersionEntry) -> VersionFile:
    """Return what the file says once `entry` is current: the one that was becomes the previous."""
    before = None if found is None else found.current
    if found is not None and entry.version == found.current.version:
        before = found.previous
    return VersionFile(
        current_version=entry.version,
        current=msgspec.structs.replace(entry, backup_path="current"),
        previous_version=None if before is None else before.version,
        previous=None if before is None else msgspec.structs.replace(before, backup_path="previous"),
    )


def numbers(found: VersionFile | None) -> tuple[int, ...]:
    """Return the numbers of the releases that the file refers to."""
    entries = () if found is None else (found.current, found.previous)
    return tuple(entry.version for entry in entries if entry is not None)


def load(home: Path) -> VersionFile | None:
    """Read the file; None if there is none. Raises StorageError if it is damaged, OSError."""
    path = home / FILE_NAME
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        found = msgspec.json.decode(data, type=VersionFile)
        for entry in (found.current, found.previous):
            if entry is not None:
                datetime.fromisoformat(entry.deployed_at)
    except (msgspec.MsgspecError, ValueError) as error:
        raise StorageError(
            f"{path} is damaged: {error}.",
            cure="Restore the file from a backup, or delete the formation and deploy it again.",
        ) from error
    return found


def save(home: Path, content: VersionFile) -> None:
    """Replace the file in one step. Raises OSError."""
    text = msgspec.json.format(msgspec.json.encode(content), indent=2)
    atomic_write(home / FILE_NAME, text, PRIVATE_FILE)
