"""Ending in good order, within one budget, and saying all the while what is waited for.

    stop accepting ─ requests under way, streams told to end ─ formations, side by side ─ what is saved

Each part has a share of `server.shutdown_timeout`; what it does not use is the next one's. What has
not ended when its time is spent is cut or killed, and the exit status says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
import trio

from muxi.errors import StorageError

if TYPE_CHECKING:
    from muxi.server.composition import Server
    from muxi.server.notify import Manager

log = structlog.get_logger()

REPORT_SECONDS: Final = 5.0
"""The pause between two reports of what is waited for."""
MOST_NAMES: Final = 10


class Shares(NamedTuple):
    """The parts of the budget, in seconds."""

    requests: float
    formations: float
    saving: float


def shares(budget: float) -> Shares:
    """Divide it: a sixth for requests, a twelfth, 5 s at most, for saving, the rest for formations."""
    requests, saving = budget / 6, min(5.0, budget / 12)
    return Shares(requests, budget - requests - saving, saving)


class Shutdown:
    """One shutdown. `run` tells whether all has ended as it should."""

    def __init__(self, server: Server, manager: Manager) -> None:
        self._server = server
        self._manager = manager
        self._keep = server.config.server.on_stop == "keep"
        self._deadline = trio.current_time() + server.config.server.shutdown_timeout
        self._clean = True

    async def run(self) -> bool:
        """End everything but the tasks themselves. False: something was killed or not saved."""
        share = shares(self._server.config.server.shutdown_timeout)
        await self._manager.stopping("Ending")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._report)
            if not self._keep:
                self._server.fleet.interrupt()
            cut = await self._server.listener.drain(share.requests)
            if cut:
                log.warning("connections cut", count=cut)
            with trio.move_on_at(self._deadline - share.saving) as late:
                await self._end_formations()
            if late.cancelled_caught:
                self._clean = False
                log.error("formations not ended in time, now killed", formations=self._left())
            async with trio.open_nursery() as last:
                last.start_soon(self._server.last_report)
                await self._save()
            nursery.cancel_scope.cancel()
        log.info("stopped", clean=self._clean)
        return self._clean

    async def _end_formations(self) -> None:
        if self._keep:
            kept = self._left()
            try:
                await self._server.detach(0)
            except StorageError as error:
                self._clean = False
                log.error("formations can't be kept, and are ended", error=error.message)
            else:
                log.info("formations go on without the server", formations=kept)
                return
        await self._server.end_formations()
        left = self._left()
        if left:
            self._clean = False
            log.error("formations could not be ended", formations=left)

    async def _save(self) -> None:
        try:
            with trio.fail_at(max(self._deadline, trio.current_time() + 1)):
                await save(self._server)
        except (StorageError, trio.TooSlowError) as error:
            self._clean = False
            log.error("registry not saved", error=str(error) or "the disk is too slow")

    async def _report(self) -> None:
        while True:
            seconds = max(0, round(self._deadline - trio.current_time()))
            await self._manager.extend(2 * REPORT_SECONDS)
            await trio.sleep(REPORT_SECONDS)
            left, connections = self._left(), self._server.listener.open_connections
            log.info("still ending", connections=connections, formations=left, seconds_left=seconds)
            await self._manager.status(
                f"Ending: {connections} connections, formations: {', '.join(left) or 'none'}"
            )

    def _left(self) -> list[str]:
        """Name the formations that have a process."""
        names = [view.id for view in self._server.fleet.list() if view.pid is not None]
        return [*names[:MOST_NAMES], *(["…"] if len(names) > MOST_NAMES else [])]


async def save(server: Server) -> None:
    """Write what is not on disk yet. Raises StorageError. The log itself is flushed at the very end."""
    await server.registry.flush()
    await server.receipts.flush()
    await server.audit.flush()
