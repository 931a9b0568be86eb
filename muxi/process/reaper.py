"""Collecting the zombies that nobody else will: orphans that have come to us.

As a child subreaper (`muxi.process.subreaper`), and as the first process of a container, we are
given every descendant whose parent has gone. Each becomes a zombie when it ends, until we
collect it. This is done on SIGCHLD, an event; and never for a process that somebody here waits for:

- one that is supervised is reaped by its owner alone, who knows it from the very step in which it was
  started (`muxi.process.confinement`), so there is no moment in which it looks like an orphan;
- a child of any other part of the program (`trio.run_process` and the like) is in our own session,
  while all that comes of a formation is in another. What is in our session is left to its part for
  half a minute: whoever waits for it is awake long before. Such a part must not start a session of
  its own for its child, unless it makes it known as supervised.
"""

from __future__ import annotations

import math
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from muxi.process import procfs
from muxi.process.usage import parse_stat

if TYPE_CHECKING:
    from collections.abc import Container

GRACE = 30.0
"""Seconds that a zombie of our own session is left to the part that may have started it."""


class Reaper:
    """Collects orphans; `supervised` says which processes are none of its business."""

    def __init__(self, supervised: Container[int], session: int | None = None) -> None:
        """Take `session` for our own one, unless it is None."""
        self._supervised = supervised
        self._session = os.getsid(0) if session is None else session
        self._left: dict[tuple[int, int], float] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Collect until cancelled; only where there is a /proc, and in the main thread."""
        if sys.platform != "linux" or not procfs.available():
            task_status.started()
            return
        with trio.open_signal_receiver(signal.SIGCHLD) as signals:
            task_status.started()
            while True:
                due = self.collect(trio.current_time())
                with trio.move_on_at(due):
                    await anext(signals)

    def collect(self, now: float) -> float:
        """Collect who is due now; return when the next one is, which may be never (infinity)."""
        left, self._left = self._left, {}
        for pid, start_ticks, session in _zombies(self._supervised):
            key = pid, start_ticks
            due = now if session != self._session else left.get(key, now + GRACE)
            if due > now:
                self._left[key] = due
                continue
            with suppress(ChildProcessError):  # whoever started it has been quicker
                os.waitpid(pid, os.WNOHANG)
        return min(self._left.values(), default=math.inf)


def _zombies(supervised: Container[int]) -> list[tuple[int, int, int]]:
    """Return pid, start time and session of our ended children that nobody supervises."""
    if not _any_ended():
        return []
    found = []
    for pid in procfs.children(os.getpid()) or procfs.pids():
        content = None if pid in supervised else procfs.raw_stat(pid)
        if content is None:
            continue
        sample = parse_stat(pid, content)
        if sample.state == "Z" and sample.parent == os.getpid():
            found.append((pid, sample.start_ticks, sample.session))
    return found


def _any_ended() -> bool:
    # It may well be a supervised one, and always the same one is shown: so this can only say "none".
    if sys.platform == "win32":
        return False
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False
