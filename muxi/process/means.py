"""By what an instance reaches the world: how it gets a process, asks it, and learns of its work."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muxi.process import failure, ports, probe
from muxi.process.attendance import Attendance
from muxi.process.pulse import Activity
from muxi.process.spawn import spawn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muxi.process.checks import Check
    from muxi.process.handle import Handle
    from muxi.process.spec import ProcessSpec

PORT_TIMEOUT = 5.0
"""Seconds to wait for the port to be free: before each spawn, and after a stop."""


@dataclass(frozen=True, slots=True)
class Means:
    """Functions; the defaults are the real ones.

    `launch` and `check` are how a process is had and asked. `relocate` gives the specification for
    another port when somebody has taken this one; it raises MuxiError when there is none.
    `activity` tells what the proxy has to do with the process just now. `on_attempt(n, most,
    detail)` is told of each check of a starting process. `spread` is random, from 0 to 1.
    """

    launch: Callable[[ProcessSpec], Awaitable[Handle]] = spawn
    check: Check = probe.check
    relocate: Callable[[ProcessSpec], ProcessSpec] | None = None
    activity: Callable[[], Activity] = Activity
    on_attempt: Callable[[int, int, str], None] | None = None
    spread: Callable[[], float] = random.random

    async def place(self, spec: ProcessSpec) -> ProcessSpec:
        """Wait until nobody listens on the specification's port, or give one for another port."""
        if await self.port_free(spec):
            return spec
        if self.relocate is None:
            raise failure.port_taken(spec.port)
        return self.relocate(spec)

    async def port_free(self, spec: ProcessSpec) -> bool:
        """Wait, within bounds, until nobody listens on its port; say whether that came."""
        return await ports.wait_free(spec.host, spec.port, PORT_TIMEOUT)

    def must_move(self, spec: ProcessSpec) -> bool:
        """Say whether somebody listens on its port, now that no process of its is left; and it can move."""
        return self.relocate is not None and not ports.is_free(spec.host, spec.port)

    def attendance(self, handle: Handle, spec: ProcessSpec) -> Attendance:
        return Attendance(
            handle,
            spec,
            check=self.check,
            spread=self.spread,
            activity=self.activity,
            on_attempt=self.on_attempt,
        )
