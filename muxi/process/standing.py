"""Where something with a life stands: its state, since when and why, and who is told of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog
import trio

from muxi.process.lifecycle import State, advance

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.process.lifecycle import Event


class Standing:
    """A walk through the lifecycle table. Times are Unix seconds.

    state           as clients know it (a StrEnum: compares and serialises as its word)
    reason          why it is in this state, in words, where that is not plain
    since           when it came into this state
    next_try_at     when a crashed one is started again; None when it will not be
    """

    def __init__(self, name: str, on_change: Callable[[], None]) -> None:
        self.state = State.STOPPED
        self.reason: str | None = None
        self.since = time.time()
        self.next_try_at: float | None = None
        self._on_change = on_change
        self._changed = trio.Event()
        self._log = structlog.get_logger().bind(process=name)

    def move(self, event: Event, reason: str | None = None) -> None:
        """Go where the event leads, and tell. Raises InternalError when it is impossible here."""
        before, self.state = self.state, advance(self.state, event)
        self.reason, self.since, self.next_try_at = reason, time.time(), None
        self._log.info("process_state", state=str(self.state), was=str(before), reason=reason)
        self.tell()

    def tell(self) -> None:
        """Tell of a change, also of one beside the state."""
        self._changed.set()
        self._changed = trio.Event()
        try:
            self._on_change()
        except Exception:  # noqa: BLE001 - theirs, and no reason to lose the process
            self._log.exception("on_change_failed")

    async def changed(self) -> None:
        """Wait for the next change."""
        await self._changed.wait()
