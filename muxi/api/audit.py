"""The audit log: who asked for what, and what became of it. One JSON line a management request."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import structlog
import trio

from muxi.observe.append import LineFile

if TYPE_CHECKING:
    from pathlib import Path

_log = structlog.get_logger()

_BATCH = 256
_FLUSH_DEADLINE = 2.0


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One request. Holds no value that the caller chose freely: no path, query, header or body.

    `key_id` is the key that signed, or for a refused request the known key that it claimed.
    `route` is the template (`/rpc/formations/{id}`), None where none matched. `status` is what
    was decided, also where a streamed answer had to say 200. `outcome` tells how a stream ended.
    """

    time: str
    request_id: str
    key_id: str | None
    address: str | None
    method: str
    route: str | None
    formation: str | None
    status: int
    duration_ms: float
    operation_id: str | None = None
    outcome: str | None = None

    def line(self) -> bytes:
        return json.dumps(asdict(self), separators=(",", ":")).encode() + b"\n"


class AuditLog:
    """Takes entries from any task without waiting; its own task writes them.

    When the disk fails or falls behind, entries are dropped and counted rather than requests
    delayed; the server log says so once, and again when writing works.
    """

    def __init__(self, path: Path, *, capacity: int = 4096) -> None:
        self.path = path
        self.dropped = 0
        self._file = LineFile(path)
        self._failing = False
        self._writing = trio.CancelScope(shield=True)
        self._recorded = 0
        self._settled = 0
        self._progress = trio.Event()
        self._running = False
        self._send, self._receive = trio.open_memory_channel[AuditEntry](capacity)

    def record(self, entry: AuditEntry) -> None:
        """Hand an entry over; never waits and never fails."""
        try:
            self._send.send_nowait(entry)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self._lost(1, "the disk is too slow")
        else:
            self._recorded += 1

    async def flush(self) -> None:
        """Wait, for a bounded time, until what has been recorded so far is written or given up."""
        wanted = self._recorded
        with trio.move_on_after(_FLUSH_DEADLINE):
            while self._running and self._settled < wanted:
                await self._progress.wait()

    def close(self) -> None:
        """Take no more entries; `run` returns once those it has are written."""
        self._send.close()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write entries until `close`. When cancelled, write what is waiting, with a deadline."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._close_when_cancelled)
            self._running = True
            task_status.started()
            with self._writing, self._receive:
                async for entry in self._receive:
                    await self._write([entry, *self._waiting()])
            self._running = False
            self._progress.set()
            nursery.cancel_scope.cancel()

    async def _close_when_cancelled(self) -> None:
        """Let a cancellation reach the writer as an end of entries, so that none is written twice."""
        try:
            await trio.sleep_forever()
        finally:
            self._writing.deadline = trio.current_time() + _FLUSH_DEADLINE
            self.close()

    def _waiting(self) -> list[AuditEntry]:
        """Take what is in the channel now, up to a batch."""
        entries: list[AuditEntry] = []
        try:
            while len(entries) < _BATCH:
                entries.append(self._receive.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            pass
        return entries

    async def _write(self, entries: list[AuditEntry]) -> None:
        data = b"".join([entry.line() for entry in entries])
        try:
            # A disk that hangs must not keep the server from ending.
            await trio.to_thread.run_sync(self._file.append, data, abandon_on_cancel=True)
        except OSError as error:
            self._lost(len(entries), error.strerror or str(error))
        else:
            self._recovered()
        self._settled += len(entries)
        self._progress.set()
        self._progress = trio.Event()

    def _lost(self, count: int, reason: str) -> None:
        self.dropped += count
        if not self._failing:
            self._failing = True
            _log.error("audit log can't be written", reason=reason, path=str(self.path))

    def _recovered(self) -> None:
        if self._failing:
            self._failing = False
            _log.warning("audit log is written again", dropped=self.dropped)
