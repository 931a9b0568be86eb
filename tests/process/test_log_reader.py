from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from muxi.process.log_pieces import part_path, piece_path, pieces
from muxi.process.log_reader import LogReader
from muxi.process.log_rotation import LogLimits, rotate_all
from tests.process.logs import WAYS, append, only_way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

LIMITS = LogLimits(max_size=10_000, max_files=1000)
CONTENT = b"".join(b"line %d\n" % number for number in range(10_000))
SIZE = 777  # of the reads of content, which tells them from those of marks


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "agent-out.log"
    append(path, CONTENT)
    return path


@pytest.fixture
def reader(log: Path) -> Iterator[LogReader]:
    reader = LogReader(log)
    yield reader
    reader.close()


def once_before_a_read(act: Callable[[], object], patch: pytest.MonkeyPatch, *, after: bool) -> None:
    """Let something happen right before, or after, the next bytes are read from a file."""
    real = os.pread
    todo = [act]

    def pread(fd: int, size: int, offset: int) -> bytes:
        data = b"" if not after else real(fd, size, offset)
        if size == SIZE and todo:
            todo.pop()()
        return data if after else real(fd, size, offset)

    patch.setattr(os, "pread", pread)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("position", [0, 5000, len(CONTENT) - 3000, len(CONTENT) - 100, len(CONTENT)])
def test_a_rotation_between_two_steps_of_a_reader_changes_nothing(
    log: Path, monkeypatch: pytest.MonkeyPatch, way: str, position: int, after: bool
) -> None:
    reader = LogReader(log)
    only_way(way, monkeypatch)
    once_before_a_read(lambda: rotate_all([log], LIMITS), monkeypatch, after=after)
    expected = CONTENT[position : position + SIZE]
    at, data = reader.read(position, SIZE)
    assert at == position
    assert expected.startswith(data)
    assert bool(data) == bool(expected)
    assert pieces(log) != []
    assert reader.cuts == 0
    assert reader.read(position, SIZE)[0] == position
    reader.close()


def test_a_copy_that_is_given_its_name_while_it_is_looked_for_is_found(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotate_all([log], LIMITS)
    piece_path(log, 0).rename(part_path(log, 0))
    reader = LogReader(log)
    real = os.scandir

    empty = log.parent / "empty"
    empty.mkdir()

    def scandir(path: Path) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
        if part_path(log, 0).exists():
            part_path(log, 0).rename(piece_path(log, 0))
            return real(empty)  # as if this listing had missed both names
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert reader.read(5, SIZE) == (5, CONTENT[5 : 5 + SIZE])
    reader.close()


def test_what_was_dropped_is_passed_over_and_said(log: Path, reader: LogReader) -> None:
    rotate_all([log], LIMITS)
    first, second, *_ = pieces(log)
    first.path.unlink()
    assert reader.read(5, SIZE) == (second.start, CONTENT[second.start : second.start + SIZE])
    for piece in pieces(log):
        piece.path.unlink()
    at, data = reader.read(5, SIZE)
    assert at == reader.start
    assert CONTENT[at:].startswith(data)


def test_a_rotated_file_that_is_read_may_be_dropped_meanwhile(log: Path, reader: LogReader) -> None:
    rotate_all([log], LIMITS)
    reader.read(len(CONTENT), 1)
    assert reader.read(0, SIZE) == (0, CONTENT[:SIZE])
    pieces(log)[0].path.unlink()
    assert reader.read(SIZE, SIZE) == (SIZE, CONTENT[SIZE : 2 * SIZE])


def test_an_emptied_log_is_noticed(log: Path, reader: LogReader) -> None:
    assert reader.read(0, SIZE)[1] != b""
    log.write_bytes(b"new\n")
    assert reader.read(SIZE, SIZE) == (0, b"")
    assert reader.cuts == 1
    assert reader.read(reader.start, SIZE) == (0, b"new\n")
