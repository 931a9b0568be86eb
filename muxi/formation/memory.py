"""Whether two releases fit into the memory side by side, looked at before the second one is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from muxi.config.values import format_size
from muxi.errors import OperatorError
from muxi.process import memory

if TYPE_CHECKING:
    from muxi.formation.manifest import Strategy
    from muxi.formation.operation import Operation
    from muxi.formation.owner import Owner


async def fitting_strategy(owner: Owner, operation: Operation, wanted: Strategy) -> Strategy:
    """Return the strategy to use: `recreate` in place of `blue-green` where that would not fit.

    A release is taken to need what the one that runs holds now. Raises OperatorError (NotEnoughMemory)
    when the configuration says that one may not fall back.
    """
    pid = owner.instance.pid if owner.instance is not None else None
    when_short = owner.facilities.config.formations.deployment.when_memory_short
    if wanted == "recreate" or pid is None or when_short == "ignore":
        return wanted
    held = await _held(owner, pid)
    there = await trio.to_thread.run_sync(memory.available)
    if there is None or held <= there:
        return wanted
    needs = f"it holds {format_size(held)}, and {format_size(there)} are free"
    if when_short == "recreate":
        operation.progress("validating", f"Two releases do not fit into the memory ({needs}): one by one...")
        return "recreate"
    raise OperatorError(
        f"Not enough memory to run two releases side by side: {needs}.",
        code="NotEnoughMemory",
        status=507,
        stage="validating",
        cure="Free some memory, ask for the strategy `recreate`, or let the server fall back to it by "
        "formations.deployment.when_memory_short.",
        details={"held": held, "available": there},
    )


async def _held(owner: Owner, pid: int) -> int:
    instance = owner.instance
    if instance is not None and instance.container_id:
        return 0 if instance.usage is None else instance.usage.memory
    return await trio.to_thread.run_sync(memory.resident, pid)
