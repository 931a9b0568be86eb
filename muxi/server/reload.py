"""Reading the configuration again, and going by what may change while the server runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio

from muxi.config.changes import compare
from muxi.errors import MuxiError
from muxi.observe.logging import set_level

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.config.load import Loaded
    from muxi.server.composition import Server
    from muxi.server.history import History

log = structlog.get_logger()

CURE = "needs a restart: muxi-server upgrade --restart, or SIGUSR2"


async def reload(server: Server, reread: Callable[[], Loaded], history: History) -> None:
    """Read the configuration again. One with a fault changes nothing; its faults are told."""
    try:
        config, notes = await trio.to_thread.run_sync(reread)
        changes = compare(server.config, config)
        await server.configure(changes.config)
    except MuxiError as error:
        await history.refused("reload", error)
        return
    set_level(changes.config.logging.level)
    for note in notes:
        log.warning("configuration", note=note)
    for name in changes.fixed:
        log.warning("setting not changed", setting=name, reason=CURE)
    log.info("configuration reloaded", changed=list(changes.live), unchanged=list(changes.fixed))
    await history.reloaded(changes.live, changes.fixed)
