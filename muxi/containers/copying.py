"""Copying a container's output while it runs, and the rest of it when it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
import trio

from muxi.containers.failures import EngineRefused, EngineUnavailable
from muxi.containers.frames import Frames, since

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muxi.containers.engine import Engine
    from muxi.containers.frames import Entry
    from muxi.containers.journal import Journal

log = structlog.get_logger()

AGAIN: Final = 0.5
"""Seconds until the engine is asked again for output after it has broken off."""
SAVE_INTERVAL: Final = 1.0
DISK_RETRY: Final = 1.0


class Copying:
    """Copies one container's output into its journal. Used by one task."""

    def __init__(self, engine: Engine, container_id: str, journal: Journal) -> None:
        self._engine = engine
        self._id = container_id
        self._journal = journal
        self._one = trio.CapacityLimiter(1)  # the journal has one caller at a time

    async def follow(self) -> None:
        """Copy until cancelled, also through a new start of the engine. Nothing is lost by a cancellation."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._save_now_and_then)
            while True:
                try:
                    await self._copy(follow=True)
                except (EngineUnavailable, EngineRefused, ValueError) as error:
                    log.info("output broke off", container=self._id[:12], reason=str(error))
                await trio.sleep(AGAIN)

    async def finish(self, seconds: float) -> None:
        """Copy what is left of a container that has ended, within bounds. Raises nothing but Cancelled."""
        with trio.move_on_after(seconds) as scope:
            try:
                await self._copy(follow=False)
            except (EngineUnavailable, EngineRefused, ValueError) as error:
                log.warning("output not complete", container=self._id[:12], reason=str(error))
        if scope.cancelled_caught:
            log.warning("output not complete", container=self._id[:12], reason="it took too long")

    async def _copy(self, *, follow: bool) -> None:
        self._journal.ask_again()
        frames = Frames()
        params = {"stdout": "1", "stderr": "1", "timestamps": "1", "since": since(self._journal.since)}
        if follow:
            params["follow"] = "1"
        path = f"/containers/{self._id}/logs"
        async with self._engine.stream("GET", path, params=params) as pieces:
            async for piece in pieces:
                await self._write(list(frames.feed(piece)))

    async def _write(self, entries: Sequence[Entry]) -> None:
        told = False
        while True:
            try:
                return await trio.to_thread.run_sync(self._journal.copy, entries, limiter=self._one)
            except OSError as error:  # it waits for us: the engine keeps the rest meanwhile
                if not told:
                    log.warning("output can't be written", container=self._id[:12], reason=error.strerror)
                told, entries = True, ()
                await trio.sleep(DISK_RETRY)

    async def _save_now_and_then(self) -> None:
        while True:
            await trio.sleep(SAVE_INTERVAL)
            try:
                await trio.to_thread.run_sync(self._journal.save_if_new, limiter=self._one)
            except OSError as error:  # the next server looks behind an older place
                log.debug("place not saved", container=self._id[:12], reason=error.strerror)
