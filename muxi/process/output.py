"""The output files of a process: their last lines, and new lines as they are written.

The process writes these files itself; here they are only read, in bounded pieces, so neither a
file of many gigabytes nor a line without end costs more than `MAX_LINE` and a block of memory.
"""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import aclosing, asynccontextmanager
from typing import IO, TYPE_CHECKING, NamedTuple

import trio

from muxi.process.inotify import FileWatch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from io import FileIO
    from pathlib import Path

BLOCK = 64 * 1024
MAX_LINE = 64 * 1024
"""Longest line given out, in bytes; the rest of it is left out, and `CUT` says so."""
CUT = " … [line cut]"
MOST_BACKLOG = 1 << 20
POLL_INTERVAL = 0.15


class Line(NamedTuple):
    """One complete line without its line end, and when it was read (Unix seconds)."""

    text: str
    at: float


def tail(path: Path, lines: int, *, max_bytes: int = MOST_BACKLOG, start: int = 0) -> list[str]:
    """Return the last lines of a file, oldest first; an unfinished last line counts as one.

    Reads from the end, at most `max_bytes` and nothing before offset `start`; a line that begins
    before that is given from there on, when there is no other. A missing file has no lines.
    Blocks: call it in a thread. Raises OSError when the file can't be read.
    """
    try:
        with path.open("rb") as file:
            return [_decode(line) for line in _last_lines(file, lines, max_bytes, start)]
    except FileNotFoundError:
        return []


@asynccontextmanager
async def follow(path: Path, *, backlog: int = 0) -> AsyncIterator[AsyncIterator[Line]]:
    """Follow a file: its last `backlog` complete lines, then each line as it is completed.

        async with follow(path, backlog=100) as lines:
            async for line in lines: ...

    Every line completed after the block was entered comes. Has no end of its own. The file may be
    missing, be truncated, or be replaced by a new one: then what the old one still had comes first.
    Lines come as soon as they are written (by inotify; where there is none, within 150 ms). A reader
    that is slow is only late: nothing is kept for it but a position in the file.
    """
    reader = _Reader(path)
    watch = _watch(path)
    try:
        first = await trio.to_thread.run_sync(reader.begin, backlog)
        async with aclosing(_lines(reader, watch, first)) as lines:
            yield lines
    finally:
        reader.close()
        if watch is not None:
            watch.close()


async def _lines(reader: _Reader, watch: FileWatch | None, texts: list[str]) -> AsyncGenerator[Line, None]:
    while True:
        now = time.time()
        for text in texts:
            yield Line(text, now)
        if reader.opened:  # it is not watched yet: arm first, then read
            if watch is not None:
                watch.arm()
        elif reader.at_end and watch is not None:
            await watch.wait()
        elif reader.at_end:
            await trio.sleep(POLL_INTERVAL)
        texts = await trio.to_thread.run_sync(reader.read)


def _watch(path: Path) -> FileWatch | None:
    try:
        return FileWatch(path)
    except OSError:  # no inotify here, none left, or no directory yet: look at intervals instead
        return None


class _Reader:
    """Reads the complete lines of a growing file. Its methods block: one caller, in threads."""

    def __init__(self, path: Path) -> None:
        self.opened = False  # whether the last call opened a file, the first or another one
        self.at_end = False  # whether the last call found nothing new
        self._path = path
        self._file: FileIO | None = None
        self._rest = b""  # the beginning of a line that has no end yet

    def begin(self, backlog: int) -> list[str]:
        """Open the file, go behind its last complete line, and return `backlog` lines before that."""
        file = self._open()
        if file is None:
            return []
        lines = _last_lines(file, backlog + 1, MOST_BACKLOG, 0)
        end = file.seek(0, os.SEEK_END)
        if lines and not _ends_with_newline(file, end):
            end -= len(lines.pop())
        file.seek(end)
        return [_decode(line) for line in lines[-backlog:]] if backlog else []

    def read(self) -> list[str]:
        """Return the lines completed since the last call, up to about a block of them."""
        self.opened, self.at_end = False, True
        file = self._file or self._open()
        if file is None:
            return []
        if os.fstat(file.fileno()).st_size < file.tell():  # truncated: what is there now is new
            file.seek(0)
            self._rest = b""
        block = file.read(BLOCK)
        self.at_end = not block
        return self._split(block) if block else self._change_if_replaced(file)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> FileIO | None:
        try:
            self._file = self._path.open("rb", buffering=0)
        except FileNotFoundError:
            return None
        self.opened = True
        return self._file

    def _change_if_replaced(self, file: FileIO) -> list[str]:
        try:
            if os.path.samestat(self._path.stat(), os.fstat(file.fileno())):
                return []
        except FileNotFoundError:
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


def _last_lines(file: IO[bytes], count: int, max_bytes: int, start: int) -> list[bytes]:
    end = file.seek(0, os.SEEK_END)
    start = start if start <= end else 0  # truncated since: all of it is new
    position, floor = end, max(start, end - max_bytes)
    blocks: deque[bytes] = deque()
    newlines = 0
    while position > floor and newlines <= count:
        size = min(BLOCK, position - floor)
        position -= size
        file.seek(position)
        blocks.appendleft(file.read(size))
        newlines += blocks[0].count(b"\n")
    lines = b"".join(blocks).split(b"\n")
    if not lines[-1]:
        lines.pop()
    if position > start and len(lines) > 1:
        del lines[0]  # we began within it, or just before it
    return lines[-count:] if count > 0 else []


def _decode(line: bytes) -> str:
    cut = CUT if len(line) > MAX_LINE else ""
    return line[:MAX_LINE].decode("utf-8", "replace").removesuffix("\r") + cut


def _ends_with_newline(file: IO[bytes], end: int) -> bool:
    file.seek(max(end - 1, 0))
    return file.read(1) == b"\n"
