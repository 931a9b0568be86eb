"""The registry: the formations' records in memory, and the one task that writes them to disk.

Changes are made in memory at once and written soon after, many in one write; `flush` waits until
all changes made so far are on disk. A failing disk never loses what is in memory: the write is
tried again, and whoever waits for it is told.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog
import trio

from muxi.errors import StorageError
from muxi.files import atomic_write
from muxi.registry.records import FormationRecord, decode, encode

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger()

NAME = "registry.json"
RETRY_SECONDS = 5.0


class Registry:
    """All formation records, by id. Used on the event loop only."""

    def __init__(self, path: Path, records: list[FormationRecord] | None = None) -> None:
        self.path = path
        self.records: dict[str, FormationRecord] = {record.id: record for record in records or []}
        self._change = 0
        self._written = 0
        self._error: OSError | None = None
        self._changed = trio.Event()
        self._settled = trio.Event()

    def put(self, record: FormationRecord) -> None:
        self.records[record.id] = record
        self._mark()

    def remove(self, formation_id: str) -> None:
        if self.records.pop(formation_id, None) is not None:
            self._mark()

    async def flush(self) -> None:
        """Wait until everything changed so far is on disk. Raises StorageError when that fails."""
        wanted = self._change
        while self._written < wanted:
            await self._settled.wait()
            if self._written < wanted and self._error is not None:
                raise StorageError(
                    f"Could not save the registry: {self._error.strerror}.",
                    cure=f"Check the free space and the permissions of {self.path.parent}.",
                )

    async def run(self) -> None:
        """Write changes as they come; the owner of the file. Runs until cancelled."""
        while True:
            while self._written == self._change:
                await self._changed.wait()
            await self._write()
            if self._error is not None:
                with trio.move_on_after(RETRY_SECONDS):
                    await self._changed.wait()

    async def _write(self) -> None:
        change = self._change
        data = encode(list(self.records.values()), time.time())
        try:
            await trio.to_thread.run_sync(atomic_write, self.path, data)
        except OSError as error:
            log.error("registry not saved", path=str(self.path), error=error.strerror)
            self._error = error
        else:
            self._written, self._error = change, None
        self._settled.set()
        self._settled = trio.Event()

    def _mark(self) -> None:
        self._change += 1
        self._changed.set()
        self._changed = trio.Event()


def load(path: Path) -> Registry:
    """Read the registry (blocking). A damaged file is set aside, never overwritten.

    The caller finds what is missing from the formations' own directories. Raises OperatorError
    for a file of another format or one that can't be read at all.
    """
    _sweep(path)
    try:
        return Registry(path, decode(path.read_bytes()))
    except FileNotFoundError:
        return Registry(path)
    except OSError as error:
        raise StorageError(
            f"Could not read {path}: {error.strerror}.", cure="Check its permissions and its disk."
        ) from error
    except ValueError as error:
        aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
        path.replace(aside)
        log.error("registry damaged, set aside", path=str(aside), error=str(error))
        return Registry(path)


def _sweep(path: Path) -> None:
    """Remove what a server that was killed in the middle of a write left (see `atomic_write`)."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        leftover.unlink(missing_ok=True)
