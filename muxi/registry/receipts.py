"""How keyed requests ended: kept for a day, over restarts, for those who ask again with the same key.

`receipts.json` in the data directory. A client that got no answer sends its request once more with
the same idempotency key; the receipt says what became of the first. It holds neither the key (only
a hash) nor the request (only a hash), and nothing of a formation's output.

What commits a release writes the receipt with it, in one step (`muxi.formation.versions`), and so
does what writes a stop, a start or a delete into the registry (`muxi.registry.store`): a server that is
killed right after finds it there, so nothing is done twice.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import structlog

from muxi.registry.saver import Saver

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

log = structlog.get_logger()

NAME = "receipts.json"
KEPT_SECONDS = 24 * 3600.0
MOST = 1000
"""When there are more, the oldest go."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The error that an operation ended with, as `muxi.errors.MuxiError` has it."""

    message: str
    code: str
    status: int
    stage: str | None = None
    cure: str | None = None
    details: dict[str, object] = {}


@dataclass(frozen=True, slots=True)
class Claim:
    """By what a keyed request is known when it is sent again, and what a good end of it is.

    `name` is the hash of key and caller, `asked` that of everything else the request was made of;
    `status` is HTTP's.
    """

    name: str
    asked: str
    status: int


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one request asked for and what came of it: one of `result`, `problem` and `answer`.

    `name`, `asked` and `status` are those of its `Claim`; `at` is Unix time. `answer` is the whole
    answer to a request that needed no operation.
    """

    name: str
    asked: str
    kind: str
    formation_id: str
    operation_id: str
    at: float
    status: int = 200
    result: dict[str, object] | None = None
    problem: Problem | None = None
    answer: dict[str, object] | None = None

    @property
    def begun(self) -> bool:
        """Whether it says no more than that a server had begun, and was killed on the way."""
        return self.result is None and self.problem is None and self.answer is None


def receipt_name(key_id: str | None, key: str) -> str:
    """Return what a receipt is kept under: the same key of another caller is another key."""
    return hashlib.sha256(f"{key_id or ''}\n{key}".encode()).hexdigest()


class Receipts:
    """The receipts of the last day, the oldest first. Used on the event loop only."""

    def __init__(self, path: Path, receipts: list[Receipt] | None = None) -> None:
        self._kept = {receipt.name: receipt for receipt in receipts or []}
        self._passing: set[str] = set()
        self._saver = Saver(path, "the receipts", self._encode)

    def find(self, name: str, now: float) -> Receipt | None:
        receipt = self._kept.get(name)
        return receipt if receipt is not None and now - receipt.at < KEPT_SECONDS else None

    def add(self, receipt: Receipt, *, lasting: bool = True) -> None:
        """Keep one; not `lasting`: until this server ends, as what it tells of does."""
        kept = [other for other in self._kept.values() if other.name != receipt.name]
        fresh = [other for other in kept if receipt.at - other.at < KEPT_SECONDS]
        self._kept = {each.name: each for each in [*fresh, receipt][-MOST:]}
        self._passing &= self._kept.keys()
        if lasting:
            self._saver.mark()
        else:
            self._passing.add(receipt.name)

    def complete(self, committed: Iterable[Receipt], now: float) -> None:
        """Add what a server wrote down with its commits, and was killed before it wrote it here."""
        for receipt in sorted(committed, key=lambda receipt: receipt.at):
            known = self.find(receipt.name, now)
            if now - receipt.at < KEPT_SECONDS and (known is None or known.begun):
                self.add(receipt)

    async def flush(self) -> None:
        """Wait until all of them are on disk. Raises StorageError."""
        await self._saver.flush()

    async def run(self) -> None:
        """Write them as they come. Runs until cancelled."""
        await self._saver.run()

    def _encode(self) -> bytes:
        lasting = [each for each in self._kept.values() if each.name not in self._passing]
        return msgspec.json.encode(lasting, enc_hook=str) + b"\n"


def load_receipts(path: Path) -> Receipts:
    """Read the file (blocking). One that can't be read is started anew: only convenience is lost."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        leftover.unlink(missing_ok=True)
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=list[Receipt])
    except FileNotFoundError:
        kept = []
    except (OSError, ValueError) as error:
        log.warning("receipts not read", path=str(path), error=str(error))
        kept = []
    now = time.time()
    return Receipts(path, [receipt for receipt in kept if now - receipt.at < KEPT_SECONDS])
