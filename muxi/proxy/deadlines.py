"""One sweep a second for all deadlines, and the coarse clock that it keeps.

A timer or a cancel scope for each wait would cost more than the request itself. So a connection
writes the time by which its present wait must end into an attribute, and this sweep ends those
that are late. The clock is refreshed by the same sweep: times are true to within a second.
"""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from muxi.proxy.context import Context


class Clock:
    """The time of the last sweep: `now` on trio's clock in seconds, `date` as HTTP writes it."""

    __slots__ = ("date", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self.date = b""

    def tick(self) -> None:
        self.now = trio.current_time()
        self.date = formatdate(usegmt=True).encode()


async def sweep(context: Context) -> None:
    """End what is past a deadline or idle for too long, and comment quiet event streams; for ever."""
    while True:
        context.clock.tick()
        now = context.clock.now
        for connection in tuple(context.connections):
            if connection.is_late(now):
                context.tally.expired += 1
                connection.expire()
        for stream in tuple(context.commented):
            stream.comment_if_quiet(now)
        context.upstreams.sweep()
        await trio.sleep(context.limits.sweep_interval)
