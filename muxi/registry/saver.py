"""One file that follows what is in memory, written by one task, many changes in one write.

A failing disk never loses what is in memory: the write is tried again, and whoever waits for it
is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio

from muxi.errors import StorageError
from muxi.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = structlog.get_logger()

RETRY_SECONDS = 5.0


class Saver:
    """Writes what `encode` returns to `path` after each `mark`. Used on the event loop only.

    `name` says in messages what the file is, such as "the registry".
    """

    def __init__(self, path: Path, name: str, encode: Callable[[], bytes]) -> None:
        self._path = path
        self._name = name
        self._encode = encode
        self._change = 0
        self._written = 0
        self._error: OSError | None = None
        self._changed = trio.Event()
        self._settled = trio.Event()

    def mark(self) -> None:
        """Say that something has changed."""
        self._change += 1
        self._changed.set()
        self._changed = trio.Event()

    async def flush(self) -> None:
        """Wait until everything changed so far is on disk. Raises StorageError when that fails."""
        wanted = self._change
        while self._written < wanted:
            await self._settled.wait()
            if self._written < wanted and self._error is not None:
                raise StorageError(
                    f"Could not save {self._name}: {self._error.strerror}.",
                    cure=f"Check the free space and the permissions of {self._path.parent}.",
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
        data = self._encode()
        try:
            await trio.to_thread.run_sync(atomic_write, self._path, data)
        except OSError as error:
            log.error(f"{self._name} not saved", path=str(self._path), error=error.strerror)
            self._error = error
        else:
            self._written, self._error = change, None
        self._settled.set()
        self._settled = trio.Event()
