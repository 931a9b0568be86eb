from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from muxi.observe.append import LineFile
from muxi.observe.writer import DescriptorSink, LineWriter

if TYPE_CHECKING:
    from pathlib import Path


class Gate:
    """A sink that can be blocked or broken like a terminal or a disk."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.waiting = threading.Event()
        self.failing = False
        self.data = b""

    def append(self, data: bytes) -> None:
        self.waiting.set()
        assert self.open.wait(30)
        if self.failing:
            raise OSError(errno.ENOSPC, "full")
        self.data += data


def words(count: int) -> str:
    return f"dropped {count}"


def test_lines_come_out_in_order() -> None:
    sink = Gate()
    sink.open.set()
    writer = LineWriter(sink, words)
    for number in range(2000):
        writer.write(str(number))
    writer.close()
    assert sink.data.decode().split() == [str(number) for number in range(2000)]


def test_a_blocked_sink_blocks_nobody_and_what_was_dropped_is_said() -> None:
    sink = Gate()
    writer = LineWriter(sink, words, capacity=2)
    writer.write("first")
    assert sink.waiting.wait(30)  # the writer's thread is stuck with it
    for number in range(5):
        writer.write(str(number))
    assert writer.dropped == 3
    sink.open.set()
    writer.close(30)
    assert sink.data == b"first\n0\n1\ndropped 3\n"


def test_closing_does_not_wait_for_a_sink_that_stays_blocked() -> None:
    sink = Gate()
    writer = LineWriter(sink, words, capacity=1)
    writer.write("first")
    assert sink.waiting.wait(30)
    writer.write("second")
    writer.close(0.01)  # returns, though the thread is stuck
    assert sink.data == b""
    sink.open.set()


def test_lines_that_the_disk_refused_are_counted() -> None:
    sink = Gate()
    sink.failing = True
    sink.open.set()
    writer = LineWriter(sink, words)
    writer.write("lost")
    while not writer.dropped:
        assert sink.waiting.wait(30)
    sink.failing = False
    writer.write("back")
    writer.close(30)
    assert sink.data == b"back\ndropped 1\n"


def test_text_that_is_no_unicode_is_written_escaped() -> None:
    sink = Gate()
    sink.open.set()
    writer = LineWriter(sink, words)
    writer.write("a\udcffb")
    writer.close(30)
    assert sink.data == b"a\\udcffb\n"


def test_a_non_blocking_terminal_gets_everything() -> None:
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETFL, os.O_NONBLOCK)
    data = b"x" * 500_000
    thread = threading.Thread(target=DescriptorSink(write).append, args=(data,))
    thread.start()
    received = b""
    while len(received) < len(data):
        received += os.read(read, 65536)
    thread.join(30)
    os.close(read)
    os.close(write)
    assert received == data


def test_the_log_file_is_private_and_its_directory_is_made(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "new" / "server.log")
    file.append(b"one\n")
    file.path.rename(tmp_path / "rotated")
    file.append(b"two\n")
    assert (tmp_path / "rotated").read_bytes() == b"one\n"
    assert file.path.read_bytes() == b"two\n"
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_a_torn_line_does_not_swallow_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LineFile(tmp_path / "server.log")
    real = os.write
    answers: list[int | OSError] = [3, OSError(errno.ENOSPC, "full")]

    def write(fd: int, data: bytes) -> int:
        answer = answers.pop(0) if answers else len(data)
        if isinstance(answer, OSError):
            raise answer
        return real(fd, bytes(data)[:answer])

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="full"):
        file.append(b"first line\n")
    file.append(b"second line\n")
    assert file.path.read_bytes() == b"fir\nsecond line\n"
