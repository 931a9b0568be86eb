"""What became of the last reload or upgrade: left in a file for whoever asked for it by a signal.

`server.json` in the data directory. A signal has no answer, and the API may just have other keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from muxi.files import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

NAME = "server.json"


class Outcome(msgspec.Struct, kw_only=True, frozen=True):
    """One answer. `serial` counts them within a process; 0 is its start.

    `changed` and `pending` are names of settings: those in force now, and those that need a
    restart. `problems` say why nothing was done. `at` is Unix time.
    """

    pid: int
    serial: int
    kind: Literal["start", "reload", "upgrade"]
    ok: bool
    at: float
    version: str
    generation: int
    changed: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    cure: str = ""


def write_outcome(data_dir: Path, outcome: Outcome) -> None:
    """Replace the file (blocking). Raises OSError."""
    atomic_write(data_dir / NAME, msgspec.json.format(msgspec.json.encode(outcome), indent=2) + b"\n")


def read_outcome(data_dir: Path) -> Outcome | None:
    """Read the file (blocking); None when there is none, or none of this version's."""
    try:
        return msgspec.json.decode((data_dir / NAME).read_bytes(), type=Outcome)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
