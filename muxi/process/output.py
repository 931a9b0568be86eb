"""The output of a process: its last lines, and new lines as they are written.

The process writes its two logs itself; here they are only read, in bounded pieces, so neither a
log of many gigabytes nor a line without end costs more than `MAX_LINE` and a block of memory.
Lines go on from a rotated file into the next one.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import trio

from muxi.process.inotify import FileWatch
from muxi.process.log_reader import LogReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
    from pathlib import Path

BLOCK = 64 * 1024
MAX_LINE = 64 * 1024
"""Longest line given out, in bytes; the rest of it is left out, and `CUT` says so."""
CUT = " … [line cut]"
DROPPED = "… [{} bytes of the log were dropped before they were read]"
MOST_BACKLOG = 1 << 20
POLL_INTERVAL = 0.15


class Line(NamedTuple):
    """One complete line without its line end, and when it was read (Unix seconds)."""

    text: str
    at: float


def tail(path: Path, lines: int, *, max_bytes: int = MOST_BACKLOG, start: int = 0) -> list[str]:
    """Return the last lines of a log, oldest first; an unfinished last line counts as one.

    Reads from the end, at most `max_bytes` and nothing before position `start`; a line that begins
    before that is given from there on, when there is no other. A missing log has no lines.
    Blocks: call it in a thread. Raises OSError when the log can't be read.
    """
    try:
        reader = LogReader(path)
    except FileNotFoundError:
        return []
    try:
        return [_decode(line) for line in _last_lines(reader, lines, max_bytes, start)]
    finally:
        reader.close()


def end_position(path: Path) -> int:
    """Return where the next byte of a log will be: a `start` for `tail`. Blocks. Raises OSError."""
    try:
        reader = LogReader(path)
    except FileNotFoundError:
        return 0
    reader.close()
    return reader.end


@asynccontextmanager
async def follow(
    path: Path, *, backlog: int = 0, ended: trio.Event | None = None
) -> AsyncIterator[AsyncIterator[Line]]:
    """Follow a log: its last `backlog` complete lines, then each line as it is completed.

        async with follow(path, backlog=100) as lines:
            async for line in lines: ...

    Every line completed after the block was entered comes, also while the log is rotated. The
    lines end once `ended` is set and all that was there has come; without it they have no end. The
    file may be missing, be truncated, or be replaced by a new one: then what the old one still had
    comes first. Lines come as soon as they are written (by inotify; where there is none, within 150
    ms). A reader that is slow is only late: nothing is kept for it but a position. When it is so late
    that its lines have been dropped with an old file, a line says how many bytes are missing.
    """
    reader = LineReader(path)
    watch = _watch(path)
    try:
        first = await trio.to_thread.run_sync(reader.begin, backlog)
        never = trio.Event()
        async with aclosing(_lines(reader, watch, first, never if ended is None else ended)) as lines:
            yield lines
    finally:
        reader.close()
        if watch is not None:
            watch.close()


async def _lines(
    reader: LineReader, watch: FileWatch | None, texts: list[str], ended: trio.Event
) -> AsyncGenerator[Line, None]:
    over = False
    while True:
        now = time.time()
        for text in texts:
            yield Line(text, now)
        if reader.opened:  # it is not watched yet: arm first, then read
            if watch is not None:
                watch.arm()
        elif reader.at_end:
            if over:
                return
            await _either(watch.wait if watch is not None else _pause, ended.wait)
        over = ended.is_set()  # before it is read to its end once more
        texts = await trio.to_thread.run_sync(reader.read)


async def _either(*waits: Callable[[], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:

        async def wait_and_end(wait: Callable[[], Awaitable[None]]) -> None:
            await wait()
            nursery.cancel_scope.cancel()

        for wait in waits:
            nursery.start_soon(wait_and_end, wait)


async def _pause() -> None:
    await trio.sleep(POLL_INTERVAL)


def _watch(path: Path) -> FileWatch | None:
    try:
        return FileWatch(path)
    except OSError:  # no inotify here, none left, or no directory yet: look at intervals instead
        return None


class LineReader:
    """Reads the complete lines of a growing log. Its methods block: one caller, in threads."""

    def __init__(self, path: Path) -> None:
        self.opened = False  # whether the last call opened a file, the first or another one
        self.at_end = False  # whether the last call found nothing new
        self._path = path
        self._reader: LogReader | None = None
        self._cuts = 0
        self._position = 0
        self._rest = b""  # the beginning of a line that has no end yet

    def begin(self, backlog: int) -> list[str]:
        """Open the log, go behind its last complete line, and return `backlog` lines before that."""
        reader = self._open()
        if reader is None:
            return []
        self._position = end = reader.end
        lines = _last_lines(reader, backlog + 1, MOST_BACKLOG, 0)
        if lines and reader.read(end - 1, 1)[1] != b"\n":
            self._position -= len(lines.pop())
        return [_decode(line) for line in lines[-backlog:]] if backlog else []

    def read(self) -> list[str]:
        """Return the lines completed since the last call, up to about a block of them."""
        self.opened, self.at_end = False, True
        reader = self._reader or self._open()
        if reader is None:
            return []
        position, block = reader.read(self._position, BLOCK)
        missed = position - self._position
        self._position = position + len(block)
        if reader.cuts != self._cuts:  # somebody emptied it: what is there now is new
            self._cuts, self._rest, self.at_end = reader.cuts, b"", False
            return []
        if missed:
            self._rest = b""
        if block:
            self.at_end = False
            lines = self._split(block)
        else:
            lines = self._change_if_replaced(reader)
        return [DROPPED.format(missed), *lines] if missed else lines

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _open(self) -> LogReader | None:
        try:
            self._reader = LogReader(self._path)
        except FileNotFoundError:
            return None
        self.opened = True
        self._cuts, self._position = 0, self._reader.start
        return self._reader

    def _change_if_replaced(self, reader: LogReader) -> list[str]:
        if not reader.replaced():
            return []
        unfinished = [_decode(self._rest)] if self._rest else []
        self._rest = b""
        self.close()
        self._open()
        return unfinished

    def _split(self, block: bytes) -> list[str]:
        *complete, rest = (self._rest + block).split(b"\n")
        self._rest = rest[: MAX_LINE + 1]  # one byte too many: so `_decode` knows that it was cut
        return [_decode(line) for line in complete]


def _last_lines(reader: LogReader, count: int, max_bytes: int, start: int) -> list[bytes]:
    end = reader.end
    start = max(start if start <= end else 0, reader.first())  # `start` > `end`: all of it is new
    position, floor = end, max(start, end - max_bytes)
    blocks: deque[bytes] = deque()
    newlines = 0
    while position > floor and newlines <= count:
        size = min(BLOCK, position - floor)
        began, block = _read_range(reader, position - size, size)
        if began > position - size:  # dropped, or cut off, while we read
            start = floor = began
        position = began
        blocks.appendleft(block)
        newlines += block.count(b"\n")
    lines = b"".join(blocks).split(b"\n")
    if not lines[-1]:
        lines.pop()
    if position > start and len(lines) > 1:
        del lines[0]  # we began within it, or just before it
    return lines[-count:] if count > 0 else []


def _read_range(reader: LogReader, position: int, size: int) -> tuple[int, bytes]:
    """Read a range which may lie in several files; what follows the last gap in it."""
    end, began, found = position + size, position, b""
    while position < end:
        at, block = reader.read(position, end - position)
        if at != position:
            began, found = min(at, end), b""
        if not block:
            break
        found += block[: end - at] if at < end else b""
        position = at + len(block)
    return began, found


def _decode(line: bytes) -> str:
    cut = CUT if len(line) > MAX_LINE else ""
    return line[:MAX_LINE].decode("utf-8", "replace").removesuffix("\r") + cut
