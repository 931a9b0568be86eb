"""Reading the `registry.json` that the original server wrote (format 1). Pure."""

from __future__ import annotations

import time
from datetime import datetime

import msgspec

from muxi.registry.records import FormationRecord

VERSION = 1


class _Formation(msgspec.Struct, kw_only=True):
    """What we take of the original's record; what a process was started with is made anew."""

    id: str
    name: str = ""
    version: object = None
    port: int = 0
    status: str = ""
    started_at: str | None = None
    deployed_at: str | None = None
    restart_count: int = 0


class _File(msgspec.Struct, kw_only=True):
    version: int
    formations: list[_Formation] | None = None


class _Header(msgspec.Struct):
    version: int


def is_original(data: bytes) -> bool:
    """Say whether this is a registry of the original server."""
    try:
        return msgspec.json.decode(data, type=_Header).version == VERSION
    except msgspec.MsgspecError:
        return False


def read_original(data: bytes) -> list[FormationRecord]:
    """Return its formations as our records; what was not stopped is to run. Raises ValueError."""
    return [_record(found) for found in msgspec.json.decode(data, type=_File).formations or ()]


def _record(found: _Formation) -> FormationRecord:
    # In its API the version is an object; its file may have the bare text.
    version = found.version if isinstance(found.version, dict) else {"semantic": found.version}
    deployed = _seconds(found.deployed_at) or _seconds(found.started_at) or time.time()
    return FormationRecord(
        id=found.id,
        name=found.name or found.id,
        port=found.port,
        semantic=_text(version.get("semantic")),
        bundle_hash=_text(version.get("current")),
        created_at=deployed,
        deployed_at=deployed,
        updated_at=_seconds(found.started_at) or deployed,
        stopped=found.status == "stopped",
        restart_count=found.restart_count,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _seconds(text: str | None) -> float | None:
    """Return Unix seconds; None for no time, which Go writes as the year 1."""
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return found.timestamp() if found is not None and found.year > 1970 else None
