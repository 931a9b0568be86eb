"""The registry: the formations' records in memory, and on disk soon after (`muxi.registry.saver`)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from muxi.errors import StorageError
from muxi.registry.receipts import KEPT_SECONDS, MOST
from muxi.registry.records import decode, encode
from muxi.registry.saver import Saver

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from muxi.registry.receipts import Receipt
    from muxi.registry.records import FormationRecord

log = structlog.get_logger()

NAME = "registry.json"


class Registry:
    """All formation records, by id. Used on the event loop only."""

    def __init__(
        self, path: Path, records: Iterable[FormationRecord] = (), receipts: Iterable[Receipt] = ()
    ) -> None:
        self.path = path
        self.records: dict[str, FormationRecord] = {record.id: record for record in records}
        self._receipts: dict[str, Receipt] = {receipt.formation_id: receipt for receipt in receipts}
        self._saver = Saver(path, "the registry", self._encode)

    @property
    def receipts(self) -> list[Receipt]:
        """For those who asked for the state that the records are in: the latest of each formation."""
        return list(self._receipts.values())

    def keep(self, formation_id: str, receipt: Receipt | None) -> None:
        """Write down, with the change that comes next, for whom it is; None: for nobody who may ask again."""
        if self._receipts.pop(formation_id, None) is None and receipt is None:
            return
        if receipt is not None:
            fresh = [old for old in self.receipts if receipt.at - old.at < KEPT_SECONDS]
            self._receipts = {each.formation_id: each for each in [*fresh, receipt][-MOST:]}
        self._saver.mark()

    def put(self, record: FormationRecord) -> None:
        self.records[record.id] = record
        self._saver.mark()

    def processes(self) -> list[int]:
        """Return the pids that the records name; whether these are still ours has to be proved."""
        entries = (entry for record in self.records.values() for entry in (record.process, record.other))
        return [entry.pid for entry in entries if entry is not None and entry.pid]

    def remove(self, formation_id: str) -> None:
        if self.records.pop(formation_id, None) is not None:
            self._saver.mark()

    async def flush(self) -> None:
        """Wait until everything changed so far is on disk. Raises StorageError when that fails."""
        await self._saver.flush()

    async def run(self) -> None:
        """Write changes as they come; the owner of the file. Runs until cancelled."""
        await self._saver.run()

    def _encode(self) -> bytes:
        return encode(list(self.records.values()), time.time(), self.receipts)


def load(path: Path) -> Registry:
    """Read the registry (blocking). A damaged file is set aside, never overwritten.

    The caller finds what is missing from the formations' own directories. Raises OperatorError
    for a file of another format or one that can't be read at all.
    """
    _sweep(path)
    try:
        found = decode(path.read_bytes())
        return Registry(path, found.formations, found.receipts)
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
