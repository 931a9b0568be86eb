"""The task that keeps all logs of formations within their limits.

It wakes when something is written, looks at what was written to, and rotates in threads, so that
one slow log delays no other. Between two looks it rests for `LOOK_INTERVAL`, however much is written:
by so much time, and that of the rotation itself, a log may be over its size.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import structlog
import trio

from muxi.process.inotify import DirectoryWatch
from muxi.process.log_freeze import thaw
from muxi.process.log_rotation import is_due, make_room, rotate_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from muxi.process.log_rotation import LogLimits

LOOK_INTERVAL = 0.1
"""Seconds between two looks while formations write."""
REST_INTERVAL = 30.0
"""Seconds until it looks at everything, without any event: whether the disk has become full."""
RETRY_INTERVAL = 5.0
"""Seconds until a rotation that failed is tried again."""
FULL = 1 << 20
"""The disk counts as full when less than so many bytes, or a hundredth of it, are free."""
MOST_THREADS = 8

OUT, ERR = "-out.log", "-err.log"

T = TypeVar("T")

log = structlog.get_logger()


class Look(NamedTuple):
    """What was seen: whose logs are to be rotated, and how much was dropped from whose on a full disk.

    `present` are all that have logs; None when only some were looked at.
    """

    due: Sequence[str]
    dropped: Mapping[str, int]
    present: AbstractSet[str] | None


class LogKeeper:
    """Rotates the logs in a directory: `{process id}-out.log` and `-err.log`.

    `limits` may be changed while it runs; None: nothing is rotated. `problems` tells in words, by
    process id, whose output can't be kept as it should, and why.
    """

    def __init__(self, directory: Path, limits: LogLimits | None) -> None:
        self.limits = limits
        self.problems: dict[str, str] = {}
        self._directory = directory
        self._busy: set[str] = set()
        self._dropped: dict[str, int] = {}
        self._threads = trio.CapacityLimiter(MOST_THREADS)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the logs. Runs until cancelled; a rotation cut short is finished by the next one."""
        watch = self._watch()
        await trio.to_thread.run_sync(_thaw_all, self._directory)
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                touched: set[str] | None = None
                while True:
                    if self.limits is not None:
                        await self._look(touched, self.limits, nursery)
                    await trio.sleep(LOOK_INTERVAL)
                    touched = await _next(watch)
        finally:
            if watch is not None:
                watch.close()

    def _watch(self) -> DirectoryWatch | None:
        try:
            return DirectoryWatch(self._directory)
        except OSError as error:
            log.warning("logs are looked at by the second", directory=self._directory, error=str(error))
            return None

    async def _look(self, touched: set[str] | None, limits: LogLimits, nursery: trio.Nursery) -> None:
        try:
            seen = await trio.to_thread.run_sync(look_around, self._directory, touched, limits)
        except OSError as error:
            log.warning("logs can't be looked at", directory=self._directory, error=str(error))
            return
        for process_id, size in seen.dropped.items():
            self._note_dropped(process_id, size)
        if seen.present is not None:
            for process_id in self.problems.keys() - seen.present:
                self._forget(process_id)
        for process_id in seen.due:
            if process_id not in self._busy:
                self._busy.add(process_id)
                nursery.start_soon(self._rotate, process_id)

    async def _rotate(self, process_id: str) -> None:
        logs = _logs(self._directory, process_id)
        try:
            while self.limits is not None and await self._in_thread(_any_due, logs):
                lost = await self._in_thread(rotate_all, logs)
                if lost:
                    self._note_dropped(process_id, lost)
                else:
                    self._forget(process_id)
        except OSError as error:
            self._note(process_id, f"its logs can't be rotated: {error.strerror or error}")
            await trio.sleep(RETRY_INTERVAL)
        finally:
            self._busy.discard(process_id)

    async def _in_thread(self, function: Callable[[Sequence[Path], LogLimits], T], logs: Sequence[Path]) -> T:
        assert self.limits is not None
        work = partial(function, logs, self.limits)
        return await trio.to_thread.run_sync(work, limiter=self._threads, abandon_on_cancel=True)

    def _note_dropped(self, process_id: str, size: int) -> None:
        total = self._dropped[process_id] = self._dropped.get(process_id, 0) + size
        self._note(process_id, f"the disk is full: the oldest {total} bytes of its output were dropped")

    def _note(self, process_id: str, problem: str) -> None:
        if process_id not in self.problems:  # the log hears of it once, however long it lasts
            log.warning("output not kept", formation_id=process_id, problem=problem)
        self.problems[process_id] = problem

    def _forget(self, process_id: str) -> None:
        self.problems.pop(process_id, None)
        self._dropped.pop(process_id, None)


def look_around(directory: Path, touched: set[str] | None, limits: LogLimits) -> Look:
    """See which logs are due, of those touched or of all; on a full disk, drop some. Blocks.

    Raises OSError when the directory can't be read.
    """
    names = touched if touched is not None else set(os.listdir(directory))  # noqa: PTH208
    found = {name[: -len(OUT)] for name in names if name.endswith((OUT, ERR))}
    due = [process_id for process_id in found if _may_be_due(_logs(directory, process_id), limits)]
    dropped = _relieve(directory) if _is_full(directory) else {}
    return Look(due, dropped, found if touched is None else None)


def _relieve(directory: Path) -> Mapping[str, int]:
    """Drop the oldest rotated files of any formation until there is some room. Blocks."""
    names = [name for name in os.listdir(directory) if name.endswith((OUT, ERR))]  # noqa: PTH208
    logs = [directory / name for name in names]
    dropped: dict[str, int] = {}
    while _is_full(directory) and (piece := make_room(logs)) is not None:
        process_id = piece.path.name.rpartition(".log.")[0][: -len("-out")]
        dropped[process_id] = dropped.get(process_id, 0) + piece.end - piece.start
    return dropped


def _is_full(directory: Path) -> bool:
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize < min(FULL, disk.f_blocks * disk.f_frsize // 100)


def _any_due(logs: Sequence[Path], limits: LogLimits) -> bool:
    return any(is_due(path, limits) for path in logs)


def _may_be_due(logs: Sequence[Path], limits: LogLimits) -> bool:
    try:
        return _any_due(logs, limits)
    except OSError:  # its own task will meet the same failure, and tell of it
        return True


def _logs(directory: Path, process_id: str) -> tuple[Path, Path]:
    return directory / f"{process_id}{OUT}", directory / f"{process_id}{ERR}"


def _thaw_all(directory: Path) -> None:
    for note in directory.glob("*.log.frozen"):
        thaw(note.with_suffix(""))


async def _next(watch: DirectoryWatch | None) -> set[str] | None:
    """Return the files that were written to next; None, for any of them, after a while without."""
    with trio.move_on_after(REST_INTERVAL if watch is not None else 1.0):
        if watch is not None:
            return await watch.wait()
        await trio.sleep_forever()
    return None
