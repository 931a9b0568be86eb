"""Exchanging a process for a new one of the same release, without anybody noticing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from muxi.formation.bring_up import started
from muxi.formation.orders import committed_release
from muxi.formation.replace import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.formation.operation import Operation
    from muxi.formation.owner import Owner

log = structlog.get_logger()


async def recycle(owner: Owner, operation: Operation, *, reason: str) -> Mapping[str, object]:
    """Carry out a recycle order; `reason` is for people, "over its soft memory limit"."""
    log.info("recycling", reason=reason)
    operation.progress("validating", f"Recycling: {reason}...")
    release = await committed_release(owner)
    await replace(owner, operation, release)
    owner.note = f"recycled: {reason}"
    return {**started(owner), "message": f"Formation recycled: {reason}"}
