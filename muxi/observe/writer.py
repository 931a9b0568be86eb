"""Writes log lines from a thread of its own, so that a blocked terminal or disk blocks only itself."""

from __future__ import annotations

import os
import queue
import select
import threading
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_BATCH = 512


class Sink(Protocol):
    """Where complete lines go. May block, may raise OSError."""

    def append(self, data: bytes) -> None: ...


class DescriptorSink:
    """An open file descriptor, such as standard error. It is not closed here."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:  # somebody who shares the terminal made it non-blocking
                select.select([], [self._descriptor], [], 1.0)


class LineWriter:
    """A bounded queue of lines and the daemon thread that empties it into a sink.

    `write` never waits. Lines that find the queue full, or that the sink refuses, are counted,
    and the log says how many as soon as it can be written again; `on_dropped` words that line.
    """

    def __init__(self, sink: Sink, on_dropped: Callable[[int], str], *, capacity: int = 8192) -> None:
        self.dropped = 0
        self._sink = sink
        self._on_dropped = on_dropped
        self._reported = 0
        self._queue: queue.Queue[str | None] = queue.Queue(capacity)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue a line (without its newline). Callable from any thread."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def close(self, timeout: float = 2.0) -> None:
        """Write what is queued, for at most `timeout` seconds, and end the thread."""
        self._closing.set()
        deadline = time.monotonic() + timeout
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while True:
            lines, ended = self._take()
            self._append(lines)
            if ended:
                return

    def _take(self) -> tuple[list[str], bool]:
        """Wait for a line, and take what else is there."""
        line = self._queue.get()
        lines: list[str] = []
        while line is not None:
            lines.append(line)
            if len(lines) == _BATCH:
                return lines, False
            try:
                line = self._queue.get_nowait()
            except queue.Empty:
                return lines, False
        return lines, True

    def _append(self, lines: list[str]) -> None:
        missing = self.dropped - self._reported
        if missing:
            lines = [*lines, self._on_dropped(missing)]
        if not lines:
            return
        try:
            self._sink.append("".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))
        except OSError:
            self.dropped += len(lines) - bool(missing)  # said, in number, once the sink works again
        else:
            self._reported += missing
