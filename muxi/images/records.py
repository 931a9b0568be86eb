"""runtimes/registry.json: what is known of the images that lie beside it.

The format is the original's (a map by version; processes.md 4.4), which existing tools read;
`variant`, `pinned` and `used_at` are additions of ours. What counts is the files: an entry without one
says nothing, and a file without one gets one.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from muxi.files import atomic_write
from muxi.images.names import read_runtime_name
from muxi.images.versions import LEAN, named

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger()

NAME = "registry.json"
MODE = 0o644


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """An image. `hash` is its SHA-256 in hexadecimal, times are RFC 3339."""

    version: str
    hash: str = ""
    path: str = ""
    size: int = 0
    downloaded_at: str = ""
    formations: list[str] | None = msgspec.field(default_factory=list)
    variant: str = LEAN
    pinned: bool = False
    used_at: str = ""

    @property
    def key(self) -> str:
        return named(self.version, self.variant)


def load(directory: Path) -> dict[str, Record]:
    """Read the records by version and variant. A damaged file is set aside. Blocks; raises OSError."""
    path = directory / NAME
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, Record])
    except FileNotFoundError:
        return {}
    except msgspec.MsgspecError as error:
        aside = path.with_name(f"{NAME}.damaged-{int(time.time())}")
        path.replace(aside)
        log.error("records of images damaged, set aside", path=str(aside), error=str(error))
        return {}
    return {record.key: record for record in map(_whole, found.values())}


def save(directory: Path, records: Mapping[str, Record]) -> None:
    """Replace the file in one step. Blocks; raises OSError."""
    text = msgspec.json.format(msgspec.json.encode(dict(sorted(records.items()))), indent=2)
    atomic_write(directory / NAME, text, MODE)


def _whole(record: Record) -> Record:
    """Take the variant from the file's name where it was written without one, and the bare hash."""
    name = read_runtime_name(Path(record.path).name)
    variant = name.variant if name is not None and record.variant == LEAN else record.variant
    return msgspec.structs.replace(
        record, variant=variant, hash=record.hash.removeprefix("sha256:"), formations=record.formations or []
    )
