"""The way of macOS to see an exit, with another queue in the system's place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import trio
import trio.testing

from muxi.process.kqueue import TrioQueue, wait_exit

if TYPE_CHECKING:
    from collections.abc import Callable

    Abort = Callable[[Callable[[], None]], trio.lowlevel.Abort]


class FakeQueue:
    """A queue that notes what is asked, and announces an exit when the test says so."""

    def __init__(self, *, ended: bool = False) -> None:
        self.calls: list[str] = []
        self._ended = ended
        self._waiting: trio.lowlevel.Task | None = None

    def add(self, pid: int) -> None:
        self.calls.append(f"add {pid}")
        if self._ended:
            raise ProcessLookupError

    def remove(self, pid: int) -> None:
        self.calls.append(f"remove {pid}")

    async def wait(self, pid: int, abort: Abort) -> None:
        self.calls.append(f"wait {pid}")
        self._waiting = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    def announce(self) -> None:
        assert self._waiting is not None
        trio.lowlevel.reschedule(self._waiting)


async def test_an_exit_is_announced() -> None:
    queue = FakeQueue()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_exit, 42, queue)
            await trio.testing.wait_all_tasks_blocked()
            assert queue.calls == ["add 42", "wait 42"]
            queue.announce()


async def test_one_that_has_ended_already_is_not_waited_for() -> None:
    queue = FakeQueue(ended=True)
    with trio.fail_after(30):
        await wait_exit(42, queue)
    assert queue.calls == ["add 42"]


async def test_cancelled_it_leaves_nothing_in_the_queue() -> None:
    queue = FakeQueue()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_exit, 42, queue)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert queue.calls == ["add 42", "wait 42", "remove 42"]


async def test_what_is_asked_of_the_system() -> None:
    """Constants are those of macOS's <sys/event.h>."""
    asked: list[object] = []

    async def wait_kevent(pid: int, kind: int, _abort: Abort) -> None:
        await trio.lowlevel.checkpoint()
        asked.append(("wait", pid, kind))

    kernel = SimpleNamespace(control=lambda events, most: asked.append((events, most)))
    lowlevel = SimpleNamespace(current_kqueue=lambda: kernel, wait_kevent=wait_kevent)
    selects = SimpleNamespace(
        KQ_EV_ADD=1,
        KQ_EV_DELETE=2,
        KQ_EV_ONESHOT=16,
        KQ_FILTER_PROC=-5,
        KQ_NOTE_EXIT=0x80000000,
        kevent=lambda pid, **fields: (pid, fields),
    )
    queue = TrioQueue(selects, lowlevel)
    await wait_exit(42, queue)
    queue.remove(42)
    added = (42, {"filter": -5, "flags": 17, "fflags": 0x80000000})
    removed = (42, {"filter": -5, "flags": 2, "fflags": 0x80000000})
    assert asked == [([added], 0), ("wait", 42, -5), ([removed], 0)]
