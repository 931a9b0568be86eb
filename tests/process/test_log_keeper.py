from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.process import log_freeze, log_keeper, log_rotation
from muxi.process.log_freeze import frozen, thaw, writers
from muxi.process.log_keeper import LogKeeper
from muxi.process.log_mark import MARK_SIZE
from muxi.process.log_pieces import pieces
from muxi.process.log_rotation import LogLimits, room_taken
from muxi.process.output import follow, tail
from tests.process.logs import WAYS, append, everything, only_way
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


APPS = Path(__file__).parent / "apps"
SMALL = LogLimits(max_size=10_000, max_files=100)
LINES = b"".join(b"line %d\n" % number for number in range(2000))

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, or pidfds")


@asynccontextmanager
async def keeping(directory: Path, limits: LogLimits | None) -> AsyncIterator[LogKeeper]:
    keeper = LogKeeper(directory, limits)
    async with trio.open_nursery() as nursery:
        await nursery.start(keeper.run)
        yield keeper
        nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine it takes a while until a process that was told to stands still."""
    monkeypatch.setattr(log_freeze, "MOST_SECONDS", 30.0)


@pytest.fixture(params=["events", "by the second"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "events":

        def refuse(_directory: Path) -> None:
            raise OSError("no inotify")

        monkeypatch.setattr(log_keeper, "DirectoryWatch", refuse)


def start(log: Path, app: str, *args: str) -> subprocess.Popen[bytes]:
    """Start a process that appends to a log."""
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        command = [sys.executable, "-I", "-S", str(APPS / app), *args]
        return subprocess.Popen(command, stdout=out, stdin=subprocess.PIPE)
    finally:
        os.close(out)


def end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.kill()
    process.wait()


@pytest.fixture
def chatty(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """A process that writes numbered lines to agent-out.log, at full speed or with pauses."""
    process = start(tmp_path / "agent-out.log", "chatty.py", *getattr(request, "param", ()))
    yield process
    end(process)


@pytest.mark.usefixtures("both_ways")
async def test_logs_that_are_large_already_and_those_that_become_so_are_rotated(tmp_path: Path) -> None:
    append(tmp_path / "old-err.log", LINES)
    append(tmp_path / "audit.log", LINES)
    async with keeping(tmp_path, SMALL) as keeper:
        await until(lambda: len(pieces(tmp_path / "old-err.log")) == 1)
        append(tmp_path / "new-out.log", LINES)
        await until(lambda: len(pieces(tmp_path / "new-out.log")) == 1)
        assert keeper.problems == {}
    assert everything(tmp_path / "old-err.log") == LINES
    assert everything(tmp_path / "new-out.log") == LINES
    assert pieces(tmp_path / "audit.log") == []


async def test_limits_may_be_changed_and_taken_away_while_it_runs(tmp_path: Path) -> None:
    log, other = tmp_path / "agent-out.log", tmp_path / "other-out.log"
    async with keeping(tmp_path, None) as keeper:
        append(log, LINES)
        await trio.sleep(3 * log_keeper.LOOK_INTERVAL)  # it has looked by then, or does no harm later
        assert pieces(log) == []
        keeper.limits = SMALL
        append(other, b"wakes it\n")
        append(log, b"and this names it\n")
        await until(lambda: pieces(log) != [])


async def test_a_process_that_never_pauses_stays_below_the_cap_and_loses_nothing_in_between(
    tmp_path: Path, chatty: subprocess.Popen[bytes]
) -> None:
    log = tmp_path / "agent-out.log"
    limits = LogLimits(max_size=1_000_000, max_files=5)
    rotated: set[int] = set()

    def twenty_times() -> bool:
        rotated.update(piece.start for piece in pieces(log))
        return len(rotated) >= 20

    async with keeping(tmp_path, limits) as keeper:
        await until(twenty_times)
        chatty.send_signal(signal.SIGTERM)
        await trio.to_thread.run_sync(chatty.wait)
        await until(lambda: room_taken([log]) <= 6_000_000 + 3 * 4096)
        assert keeper.problems == {}
    first, *_, last, end = everything(log, 1 << 20).splitlines()
    assert end == b"end"
    numbers = [int(line) for line in everything(log, 1 << 20).splitlines()[:-1]]
    assert numbers == list(range(int(first), int(last) + 1))


@pytest.mark.parametrize("chatty", [["0.01"]], indirect=True, ids=["with pauses"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_follower_gets_every_line_once_while_the_log_is_rotated_below_it(
    tmp_path: Path, chatty: subprocess.Popen[bytes], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_way(way, monkeypatch)
    log = tmp_path / "agent-out.log"
    seen: list[str] = []
    async with keeping(tmp_path, LogLimits(max_size=200_000, max_files=10_000)):
        with trio.fail_after(120):
            async with follow(log, backlog=1) as lines:
                async for line in lines:
                    seen.append(line.text)
                    if len(seen) % 1000 == 0 and len(pieces(log)) >= 20:
                        chatty.send_signal(signal.SIGTERM)
                    if line.text == "end":
                        break
    first = int(seen[0])
    assert seen[:-1] == [str(number) for number in range(first, first + len(seen) - 1)]
    assert tail(log, 3) == seen[-3:]


async def test_a_follower_that_was_too_slow_is_told_how_much_it_missed(tmp_path: Path) -> None:
    log = tmp_path / "agent-out.log"
    append(log, b"first\n")
    async with keeping(tmp_path, LogLimits(max_size=1024, max_files=1)), follow(log, backlog=1) as lines:
        assert (await anext(aiter(lines))).text == "first"
        append(log, LINES)
        await until(lambda: pieces(log) != [] and log.stat().st_size < 10_000)
        texts = [(await anext(aiter(lines))).text for _ in range(3)]
    assert texts[0].startswith("… [")
    assert texts[0].endswith(" bytes of the log were dropped before they were read]")
    assert int(texts[2].removeprefix("line ")) == int(texts[1].removeprefix("line ")) + 1


async def test_what_fails_is_told_once_tried_again_and_forgotten_when_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = True
    real = log_rotation.rotate_all

    def rotate(logs: tuple[Path, ...], limits: LogLimits) -> int:
        if broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(logs, limits)

    monkeypatch.setattr(log_keeper, "rotate_all", rotate)
    monkeypatch.setattr(log_keeper, "RETRY_INTERVAL", 0.01)
    log = tmp_path / "agent-out.log"
    async with keeping(tmp_path, SMALL) as keeper:
        append(log, LINES)
        await until(lambda: "agent" in keeper.problems)
        assert keeper.problems["agent"] == "its logs can't be rotated: Input/output error"
        append(log, b"it goes on\n")
        await trio.sleep(3 * log_keeper.LOOK_INTERVAL)
        broken = False
        append(log, b"and on\n")
        await until(lambda: keeper.problems == {})
    assert capsys.readouterr().out.count("output not kept") == 1
    assert everything(log) == LINES + b"it goes on\nand on\n"


async def test_a_log_whose_disk_hangs_delays_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = log_rotation.rotate_all
    hanging, on = trio.Event(), list[int]()

    def rotate(logs: tuple[Path, ...], limits: LogLimits) -> int:
        if logs[0].name.startswith("slow"):
            trio.from_thread.run_sync(hanging.set)
            while not on:
                time.sleep(0.001)
        return real(logs, limits)

    monkeypatch.setattr(log_keeper, "rotate_all", rotate)
    async with keeping(tmp_path, SMALL):
        append(tmp_path / "slow-out.log", LINES)
        await hanging.wait()
        append(tmp_path / "quick-out.log", LINES)
        await until(lambda: pieces(tmp_path / "quick-out.log") != [])
        assert pieces(tmp_path / "slow-out.log") == []
        on.append(1)
        await until(lambda: pieces(tmp_path / "slow-out.log") != [])


async def test_one_log_that_can_not_be_looked_at_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_due(log: Path, limits: LogLimits) -> bool:
        if log.name.startswith("odd"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return log_rotation.is_due(log, limits)

    monkeypatch.setattr(log_keeper, "is_due", is_due)
    async with keeping(tmp_path, SMALL) as keeper:
        append(tmp_path / "odd-out.log", LINES)
        append(tmp_path / "even-out.log", LINES)
        await until(lambda: pieces(tmp_path / "even-out.log") != [])
        await until(lambda: keeper.problems == {"odd": "its logs can't be rotated: Permission denied"})


# A full disk


@pytest.mark.parametrize("small_disk", ["tmpfs", "ext4"], indirect=True)
async def test_a_full_disk_costs_the_oldest_lines_only_and_the_process_can_write_on(
    small_disk: Path,
) -> None:
    log = small_disk / "agent-out.log"
    async with keeping(small_disk, LogLimits(max_size=100_000, max_files=50)) as keeper:
        process = start(log, "stubborn.py")
        try:
            await until(lambda: "agent" in keeper.problems)
            assert "the disk is full: the oldest " in keeper.problems["agent"]
            assert process.stdin is not None
            process.stdin.close()
            assert await trio.to_thread.run_sync(process.wait) == 0
        finally:
            end(process)
    assert everything(log, 1 << 20).endswith(b"\nend\n")


# Writers that stand still


async def test_writers_are_those_who_append_to_the_log(
    tmp_path: Path, chatty: subprocess.Popen[bytes]
) -> None:
    log = tmp_path / "agent-out.log"
    with log.open("rb"), log.open("r+b"):
        assert writers(log) == {chatty.pid}
    assert writers(tmp_path / "nobody-out.log") == set()


async def test_frozen_writers_write_nothing_and_then_go_on(
    tmp_path: Path, chatty: subprocess.Popen[bytes]
) -> None:
    log, note = tmp_path / "agent-out.log", tmp_path / "agent-out.log.frozen"
    await until(lambda: log.stat().st_size > 0)
    with frozen(log) as still:
        assert still
        size = log.stat().st_size
        assert _state(chatty.pid) == "T"
        assert log.stat().st_size == size
        assert exists(note)
    await until(lambda: log.stat().st_size > size)
    assert not exists(note)


async def test_writers_left_frozen_by_a_server_that_died_are_woken_by_the_next(
    tmp_path: Path, chatty: subprocess.Popen[bytes]
) -> None:
    log, note = tmp_path / "agent-out.log", tmp_path / "agent-out.log.frozen"
    await until(lambda: log.stat().st_size > 0)
    chatty.send_signal(signal.SIGSTOP)
    await until(lambda: _state(chatty.pid) == "T")
    thaw(log)
    assert _state(chatty.pid) == "T", "nobody says that it was us who stopped it"
    append(note, b"")
    async with keeping(tmp_path, None):
        assert not exists(note)
        size = log.stat().st_size
        await until(lambda: log.stat().st_size > size)


@pytest.mark.parametrize("chatty", [["0.01"]], indirect=True, ids=["with pauses"])
async def test_a_server_that_died_with_a_log_just_truncated_leaves_its_mark_right(
    tmp_path: Path, chatty: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, note = tmp_path / "agent-out.log", tmp_path / "agent-out.log.frozen"
    await until(lambda: log.stat().st_size > 100_000)
    with frozen(log) as still:
        assert still
        only_way("truncate", monkeypatch)
        monkeypatch.setattr(os, "ftruncate", _truncate_and_die)
        with pytest.raises(KeyboardInterrupt):
            log_rotation.rotate_all([log], LogLimits(max_size=50_000, max_files=100))
        monkeypatch.undo()
        append(note, b"")
        before = everything(log)
        thaw(log)  # and they write on, more than there was before
        await until(lambda: log.stat().st_size > 300_000)
    chatty.send_signal(signal.SIGTERM)
    await trio.to_thread.run_sync(chatty.wait)
    *numbers, last = everything(log, 1 << 20).splitlines()
    assert last == b"end"
    assert everything(log).startswith(before)
    assert [int(number) for number in numbers] == list(range(len(numbers)))


def _truncate_and_die(fd: int, size: int, real: Callable[[int, int], None] = os.ftruncate) -> None:
    real(fd, size)
    if size == MARK_SIZE:
        raise KeyboardInterrupt  # stands for a SIGKILL: nothing in the code handles it


async def test_who_was_stopped_before_stays_so(tmp_path: Path, chatty: subprocess.Popen[bytes]) -> None:
    log = tmp_path / "agent-out.log"
    await until(lambda: log.stat().st_size > 0)
    chatty.send_signal(signal.SIGSTOP)
    await until(lambda: _state(chatty.pid) == "T")
    with frozen(log) as still:
        assert still
    assert _state(chatty.pid) == "T"


def exists(path: Path) -> bool:
    return path.exists()


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
