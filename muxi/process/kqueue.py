"""A process's exit as an event on macOS: a filter of kqueue(2), in the queue that trio waits on.

What is asked of the system is behind `Queue`, so that the rest is tried on any system.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Abort = Callable[[Callable[[], None]], trio.lowlevel.Abort]


class Queue(Protocol):
    """Where exits are announced. `add` raises ProcessLookupError for one that has ended."""

    def add(self, pid: int) -> None: ...
    def remove(self, pid: int) -> None: ...
    def wait(self, pid: int, abort: Abort) -> Awaitable[object]: ...


async def wait_exit(pid: int, queue: Queue | None = None) -> None:
    """Wait until a process has ended; it is not reaped."""
    events = queue or TrioQueue(select, trio.lowlevel)

    def abort(_raise_cancel: Callable[[], None]) -> trio.lowlevel.Abort:
        events.remove(pid)
        return trio.lowlevel.Abort.SUCCEEDED

    try:
        events.add(pid)
    except ProcessLookupError:  # it has ended, or is about to
        return
    await events.wait(pid, abort)


class TrioQueue:
    """Trio's own kqueue."""

    def __init__(self, selects: Any, lowlevel: Any) -> None:  # noqa: ANN401 - modules, see below
        """Use the modules `select` and `trio.lowlevel`, whose names for this exist on macOS only."""
        self._select = selects
        self._lowlevel = lowlevel

    def add(self, pid: int) -> None:
        self._control(pid, self._select.KQ_EV_ADD | self._select.KQ_EV_ONESHOT)

    def remove(self, pid: int) -> None:
        self._control(pid, self._select.KQ_EV_DELETE)

    def wait(self, pid: int, abort: Abort) -> Awaitable[object]:
        waiting: Awaitable[object] = self._lowlevel.wait_kevent(pid, self._select.KQ_FILTER_PROC, abort)
        return waiting

    def _control(self, pid: int, flags: int) -> None:
        event = self._select.kevent(
            pid, filter=self._select.KQ_FILTER_PROC, flags=flags, fflags=self._select.KQ_NOTE_EXIT
        )
        self._lowlevel.current_kqueue().control([event], 0)
