"""What is kept of the code runner on disk, so that the next server goes on with it or ends it.

`rce.json` in the data directory. It holds no secret: of the settings only a salted hash, by which
the next server sees whether the process still is what is asked for.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
import structlog

from muxi.registry.records import ProcessRecord  # noqa: TC001 - msgspec reads the annotations
from muxi.registry.saver import Saver
from muxi.runtime.pin import Pin  # noqa: TC001

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.rce.way import Way

log = structlog.get_logger()

NAME = "rce.json"


class RunnerRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The process, what it was started with, and what it runs on."""

    process: ProcessRecord
    asked: str
    pin: Pin | None = None


def hash_of(way: Way, salt: str) -> str:
    """Return what stands for all that a process is started with; the salt is its token's hash."""
    settings = way.settings
    asked = (settings.port, settings.token, settings.home, settings.command, settings.image)
    engine = way.engine and way.engine.program
    return hashlib.sha256(repr((salt, *asked, engine, way.sif)).encode()).hexdigest()


class RecordFile:
    """The record in memory, and on disk soon after. Used on the event loop only."""

    def __init__(self, path: Path, record: RunnerRecord | None = None) -> None:
        self.record = record
        self._saver = Saver(path, "the code runner's record", self._encode)

    def put(self, record: RunnerRecord | None) -> None:
        if record != self.record:
            self.record = record
            self._saver.mark()

    def processes(self) -> list[int]:
        """Return the pid that the record names, if any; whether that is still ours has to be proved."""
        return [self.record.process.pid] if self.record is not None and self.record.process.pid else []

    async def flush(self) -> None:
        """Wait until it is on disk. Raises StorageError when that fails."""
        await self._saver.flush()

    async def run(self) -> None:
        """Write changes as they come; the owner of the file. Runs until cancelled."""
        await self._saver.run()

    def _encode(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self.record), indent=2) + b"\n"


def load_record(path: Path) -> RecordFile:
    """Read the file (blocking). One that can't be read is of no use, and no reason not to start."""
    try:
        return RecordFile(path, msgspec.json.decode(path.read_bytes(), type=RunnerRecord | None))
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        log.warning("record of the code runner can't be read", path=str(path), error=str(error))
    return RecordFile(path)
