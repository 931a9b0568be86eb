"""Signals, from the first moment of a program to the first of the one that takes its place.

On the event loop they come by trio's receiver. Before and after it a plain handler notes them, so
that none has its default effect, which would be to end the process. Over an `exec` they are
blocked, and wait for the next program. Nothing here relies on KeyboardInterrupt.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def _known(*names: str) -> tuple[signal.Signals, ...]:
    """Return those that this system has."""
    return tuple(signal.Signals[name] for name in names if name in signal.Signals.__members__)


STOP: Final = _known("SIGINT", "SIGTERM", "SIGBREAK")
RELOAD: Final = _known("SIGHUP")
UPGRADE: Final = _known("SIGUSR2")
ALL: Final = STOP + RELOAD + UPGRADE


class SignalBox:
    """Catches signals and keeps them until somebody takes them. One a process, on its main thread."""

    def __init__(self) -> None:
        self._noted: list[signal.Signals] = []
        self._before: dict[signal.Signals, object] = {}

    def catch(self, *numbers: signal.Signals) -> None:
        """Catch these from now on, also those that the program before us left waiting."""
        for number in numbers:
            self._before.setdefault(number, signal.signal(number, self._handler))
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

    def release(self) -> None:
        """Give all signals back the effect that they had."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() returned
        self._before.clear()

    def note(self, number: signal.Signals) -> None:
        """Keep one for the next `deliver`, or the next program."""
        self._noted.append(number)

    async def deliver(
        self,
        take: Callable[[signal.Signals], None],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Call `take` with what has been noted, and with every signal that comes; for ever."""
        with trio.open_signal_receiver(*ALL) as receiver:
            task_status.started()
            noted, self._noted = self._noted, []
            for earlier in noted:
                take(earlier)
            async for number in receiver:
                take(signal.Signals(number))

    def carry_over(self) -> None:
        """Make all signals wait, those noted too, for the program that takes this one's place."""
        signal.pthread_sigmask(signal.SIG_BLOCK, ALL)
        waiting, self._noted = self._noted, []
        for noted in waiting:
            # To this thread: other threads, which go with this program, may not have it blocked.
            signal.pthread_kill(threading.get_ident(), noted)

    def carry_on(self) -> None:
        """Take back `carry_over`."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ALL)

    def _handler(self, number: int, _frame: FrameType | None) -> None:
        self._noted.append(signal.Signals(number))
