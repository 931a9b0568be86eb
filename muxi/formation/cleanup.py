"""What operations do at their end, whichever way they end: also when they are cancelled."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
import trio

from muxi.errors import MuxiError, StorageError
from muxi.process import log_pieces

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muxi.formation.owner import Owner
    from muxi.formation.view import LogFiles

log = structlog.get_logger()

SETTLE_SECONDS = 1.0


async def clear_away(*steps: Callable[[], Awaitable[object]]) -> None:
    """Take all these steps, also when one fails: what is left lying is swept at the next start.

    An operation's outcome is what it was by then, so a failure here is for the log only.
    """
    for step in steps:
        try:
            await step()
        except (OSError, MuxiError) as error:
            log.warning("not cleared away", reason=str(error))


async def in_thread(work: Callable[..., object], *arguments: object) -> None:
    """Do blocking clean-up work; also when cancelled, since what is half removed helps nobody."""
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(work, *arguments)


async def settle(owner: Owner) -> None:
    """Have the registry on disk say what is so, also after an undoing, before anybody is told.

    Where the disk refuses, the registry's own task goes on trying.
    """
    with trio.move_on_after(SETTLE_SECONDS, shield=True), suppress(StorageError):
        await owner.facilities.registry.flush()


def remove_logs(logs: LogFiles) -> None:
    """Remove a formation's output, the rotated files too (blocking); what is not there is fine."""
    log_pieces.remove(logs.stdout)
    log_pieces.remove(logs.stderr)
