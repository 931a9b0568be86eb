"""Waiting for a process to become healthy, and telling meanwhile what it fetches for itself.

The first boot of a MUXI formation may fetch gigabytes of models. The runtime reports nothing of
it, but the directory that it fetches them to grows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from muxi.errors import MuxiError
from muxi.runtime.models import models_size

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.formation.operation import Operation
    from muxi.formation.run import Run

PAUSE: Final = 2.0
"""Seconds between two looks."""
WORTH_TELLING: Final = 1024 * 1024
"""Bytes; what is less is no download but a note of the hub's."""


async def wait_healthy(run: Run, operation: Operation) -> None:
    """Return once it is healthy. Raises what `Instance.wait_healthy` does."""
    cache = run.plan.prepared.models
    if cache is None:
        await run.instance.wait_healthy()
        return
    failure: MuxiError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell, cache, operation)
        try:
            await run.instance.wait_healthy()
        except MuxiError as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _tell(cache: Path, operation: Operation) -> None:
    """Tell how much has come since now, whenever that has grown."""
    first = told = await trio.to_thread.run_sync(models_size, cache, abandon_on_cancel=True)
    while True:
        await trio.sleep(PAUSE)
        size = await trio.to_thread.run_sync(models_size, cache, abandon_on_cancel=True)
        if size - told >= WORTH_TELLING and not operation.ended:
            told = size
            fetched = size - first
            operation.progress("health_check", f"The runtime fetches models: {fetched / 1e6:,.0f} MB so far")
