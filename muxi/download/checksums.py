"""Checksums of files: read as they are published, and those seen first kept beside the files.

Both in the form of `sha256sum`: the hash in hexadecimal, blanks, the name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from muxi.files import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

_LINE = re.compile(r"(?:sha256:)?([0-9a-f]{64})(?:\s+\*?(.*))?", re.IGNORECASE | re.ASCII)
MODE = 0o644


def read_published(text: str, name: str) -> str | None:
    """Return the hash of the file `name` in a published text: its own line, or the only one. Pure."""
    found = [match for line in text.splitlines() if (match := _LINE.fullmatch(line.strip()))]
    named = [match for match in found if (match[2] or "").rpartition("/")[2].strip() == name]
    chosen = named or (found if len(found) == 1 and not (found[0][2] or "").strip() else [])
    return chosen[0][1].lower() if chosen else None


def record_of(target: Path) -> Path:
    """Return where the hash of a file is kept; it stays when the file is removed."""
    return target.with_name(f".{target.name}.sha256")


def first_seen(target: Path) -> str | None:
    """Return the hash that a file of this name had when it was first fetched. Blocks; raises OSError."""
    try:
        return read_published(record_of(target).read_text("utf-8", "replace"), target.name)
    except FileNotFoundError:
        return None


def keep(target: Path, sha256: str) -> None:
    """Keep the hash of a file beside it. Blocks; raises OSError."""
    if first_seen(target) != sha256:
        atomic_write(record_of(target), f"{sha256}  {target.name}\n".encode(), MODE)
