from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from muxi.process import output
from muxi.process.output import CUT, MAX_LINE, follow, tail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "agent-out.log"


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def rewrite(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def rotate(path: Path, turn: int) -> None:
    old = path.rename(path.with_suffix(f".{turn}"))
    append(old, b"last words")  # the process still writes to the old file
    append(path, b"in the new file\n")


def remove_and_append(path: Path, data: bytes) -> None:
    path.unlink()
    append(path, data)


# tail


@pytest.mark.parametrize(
    ("content", "lines", "expected"),
    [
        (b"", 5, []),
        (b"a\nb\nc\n", 2, ["b", "c"]),
        (b"a\nb\nc\n", 9, ["a", "b", "c"]),
        (b"a\nb\nunfinished", 2, ["b", "unfinished"]),
        (b"a\r\n\n\nb\r\n", 9, ["a", "", "", "b"]),
        (b"\n", 3, [""]),
        (b"a\nb\n", 0, []),
        (b"bad \xff\xfe utf-8 \xc3\n", 1, ["bad \ufffd\ufffd utf-8 \ufffd"]),
        (b"form\x0cfeed\x85\n", 1, ["form\x0cfeed\ufffd"]),  # only "\n" ends a line
    ],
)
def test_tail(log: Path, content: bytes, lines: int, expected: list[str]) -> None:
    log.write_bytes(content)
    assert tail(log, lines) == expected


def test_tail_of_a_missing_file(log: Path) -> None:
    assert tail(log, 10) == []


def test_tail_of_an_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        tail(tmp_path, 10)


def test_tail_reads_no_more_than_it_needs(log: Path) -> None:
    with log.open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of zeros, and no line end in it
        file.seek(0, 2)
        file.write(b"\nlast but one\nlast\n")
    assert tail(log, 2) == ["last but one", "last"]
    assert tail(log, 3, max_bytes=4096) == ["last but one", "last"]


def test_tail_cuts_a_line_without_end(log: Path) -> None:
    log.write_bytes(b"x" * 3_000_000)
    assert tail(log, 5) == ["x" * MAX_LINE + CUT]


def test_tail_from_a_start(log: Path) -> None:
    log.write_bytes(b"old 1\nold 2\nnew 1\nnew 2\n")
    assert tail(log, 9, start=12) == ["new 1", "new 2"]
    assert tail(log, 9, start=24) == []
    assert tail(log, 9, start=999) == ["old 1", "old 2", "new 1", "new 2"]  # truncated meanwhile


@given(
    st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b""))),
    st.integers(1, 10),
    st.booleans(),
)
def test_tail_is_the_end_of_all_lines(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[bytes],
    count: int,
    ended: bool,
) -> None:
    path = tmp_path_factory.mktemp("tail") / "log"
    content = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    path.write_bytes(content)
    kept = content.split(b"\n")
    if not kept[-1]:
        kept.pop()
    expected = [line.decode("utf-8", "replace") for line in kept[-count:]]
    assert tail(path, count) == expected
    small_block = pytest.MonkeyPatch()
    with small_block.context() as patch:
        patch.setattr(output, "BLOCK", 3)
        assert tail(path, count) == expected


# follow


@pytest.fixture(params=["events", "polling"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "polling":

        def refuse(_path: Path) -> None:
            raise OSError("no inotify")

        monkeypatch.setattr(output, "FileWatch", refuse)
    return str(request.param)


class Follower:
    """Collects the lines that a follower gives, in a task of its own."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[str](1000)

    @classmethod
    @asynccontextmanager
    async def on(cls, path: Path, backlog: int = 0) -> AsyncIterator[Follower]:
        self = cls()
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                await nursery.start(self._run, path, backlog)
                yield self
                nursery.cancel_scope.cancel()

    async def _run(self, path: Path, backlog: int, *, task_status: trio.TaskStatus[None]) -> None:
        async with follow(path, backlog=backlog) as lines:
            task_status.started()
            async for line in lines:
                assert abs(line.at - time.time()) < 30
                await self._send.send(line.text)

    async def next(self, count: int) -> list[str]:
        return [await self._receive.receive() for _ in range(count)]

    def nothing_more(self) -> bool:
        return self._receive.statistics().current_buffer_used == 0


@pytest.mark.usefixtures("both_ways")
async def test_follow_gives_backlog_then_lines_as_they_end(log: Path) -> None:
    append(log, b"one\ntwo\nthree\nhalf")
    async with Follower.on(log, backlog=2) as follower:
        assert await follower.next(2) == ["two", "three"]
        append(log, b" done\nnext\nrest")
        assert await follower.next(2) == ["half done", "next"]
        assert follower.nothing_more()
        append(log, b"\n")
        assert await follower.next(1) == ["rest"]


@pytest.mark.usefixtures("both_ways")
async def test_follow_without_backlog_gives_only_what_is_new(log: Path) -> None:
    append(log, b"old\n")
    async with Follower.on(log) as follower:
        await trio.to_thread.run_sync(append, log, b"new\n")
        assert await follower.next(1) == ["new"]


@pytest.mark.usefixtures("both_ways")
async def test_follow_waits_for_a_file_that_is_not_there(log: Path) -> None:
    async with Follower.on(log) as follower:
        append(log, b"first\n")
        assert await follower.next(1) == ["first"]
        append(log, b"second\n")
        assert await follower.next(1) == ["second"]


@pytest.mark.usefixtures("both_ways")
async def test_follow_survives_truncation(log: Path) -> None:
    append(log, b"a long line before\nhalf")
    async with Follower.on(log, backlog=1) as follower:
        assert await follower.next(1) == ["a long line before"]
        rewrite(log, b"new\n")
        assert await follower.next(1) == ["new"]


@pytest.mark.usefixtures("both_ways")
async def test_follow_survives_rotation_by_rename(log: Path) -> None:
    append(log, b"one\n")
    async with Follower.on(log, backlog=1) as follower:
        assert await follower.next(1) == ["one"]
        for turn in range(3):
            rotate(log, turn)
            assert await follower.next(2) == ["last words", "in the new file"]
        append(log, b"and on\n")
        assert await follower.next(1) == ["and on"]


@pytest.mark.usefixtures("both_ways")
async def test_follow_survives_removal(log: Path) -> None:
    append(log, b"one\n")
    async with Follower.on(log, backlog=1) as follower:
        assert await follower.next(1) == ["one"]
        remove_and_append(log, b"two\n")
        assert await follower.next(1) == ["two"]


async def test_follow_finds_a_directory_that_comes_later(tmp_path: Path) -> None:
    async with Follower.on(tmp_path / "logs" / "x.log") as follower:
        (tmp_path / "logs").mkdir()
        append(tmp_path / "logs" / "x.log", b"hello\n")
        assert await follower.next(1) == ["hello"]


async def test_follow_cuts_a_line_without_end_and_goes_on(log: Path) -> None:
    async with Follower.on(log) as follower:
        for _ in range(20):
            append(log, b"x" * 100_000)
        append(log, b"\nnext \xff line\r\n")
        assert await follower.next(2) == ["x" * MAX_LINE + CUT, "next \ufffd line"]


async def test_follow_loses_nothing_of_a_fast_writer(log: Path) -> None:
    def write() -> None:
        with log.open("ab", buffering=0) as file:
            for number in range(5000):
                file.write(b"%d\n" % number)

    async with Follower.on(log) as follower, trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, write)
        assert await follower.next(5000) == [str(number) for number in range(5000)]


async def test_followers_that_leave_cost_nothing(log: Path, count_fds: Callable[[], int]) -> None:
    append(log, b"1\n2\n3\n")
    await trio.to_thread.run_sync(tail, log, 1)
    before = count_fds()
    for _ in range(20):
        async with follow(log, backlog=3) as lines:
            async for line in lines:
                assert line.text == "1"
                break
    assert count_fds() == before
