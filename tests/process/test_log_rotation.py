from __future__ import annotations

import errno
import os
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muxi.process import fallocate, log_rotation, log_shrink, output
from muxi.process.log_mark import MARK_SIZE
from muxi.process.log_pieces import pieces, remove
from muxi.process.log_rotation import LogLimits, is_due, room_taken, rotate_all
from muxi.process.output import tail
from tests.process.logs import WAYS, append, everything, only_way

if TYPE_CHECKING:
    from collections.abc import Callable

MANY = LogLimits(max_size=1024, max_files=10_000)
APPS = Path(__file__).parent / "apps"

linux = pytest.mark.skipif(sys.platform != "linux", reason="what is tested is Linux's own")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "agent-out.log"


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    only_way(request.param, monkeypatch)
    return str(request.param)


def numbered(first: int, last: int) -> bytes:
    return b"".join(b"%07d %s\n" % (number, b"x" * (number % 90)) for number in range(first, last))


# One rotation


def test_a_small_log_is_left_alone(log: Path) -> None:
    append(log, b"x" * 1023)
    assert not is_due(log, MANY)
    assert rotate_all([log], MANY) == 0
    assert log.read_bytes() == b"x" * 1023
    assert pieces(log) == []


def test_a_missing_log_is_nothing_to_rotate(log: Path) -> None:
    assert not is_due(log, MANY)
    assert rotate_all([log], MANY) == 0


def test_rotated_files_end_with_whole_lines_and_sort_by_age(log: Path, way: str) -> None:
    content = numbered(0, 2000)
    append(log, content)
    assert is_due(log, MANY)
    rotate_all([log], MANY)
    assert not is_due(log, MANY)
    rotated = sorted(log.parent.glob("agent-out.log.*"))
    assert len(rotated) > 50, way
    assert all(path.read_bytes().endswith(b"\n") for path in rotated)
    most = 2048 if way == "truncate" else 1024  # there the newest gets what was written meanwhile, too
    assert all(path.stat().st_size <= most for path in rotated)
    joined = b"".join(path.read_bytes() for path in rotated)
    assert content.startswith(joined)
    assert everything(log) == content
    assert log.stat().st_blocks * 512 <= 3 * 4096 if way != "truncate" else log.stat().st_size == MARK_SIZE


def test_the_top_of_a_rotated_log_is_one_line_that_says_where_the_rest_is(log: Path) -> None:
    append(log, numbered(0, 2000))
    rotate_all([log], MANY)
    first, _, rest = log.read_bytes().partition(b"\n")
    assert first.startswith(b"[muxi-server] earlier lines are in the numbered files; base ")
    assert numbered(0, 2000).endswith(rest)


def test_a_line_longer_than_a_file_is_divided_and_read_as_one(log: Path, way: str) -> None:
    content = b"first\n" + b"y" * 30_000 + b"\nlast\n"
    append(log, content)
    rotate_all([log], MANY)
    assert len(pieces(log)) > 20, way
    assert everything(log) == content
    assert tail(log, 5) == ["first", "y" * 30_000, "last"]


def test_a_line_without_end_and_binary_garbage(log: Path, way: str) -> None:
    content = bytes(range(256)).replace(b"\n", b"\0") * 400 + b"\0\0\r\n\r\nend"
    append(log, content)
    rotate_all([log], MANY)
    assert everything(log) == content, way
    assert tail(log, 2) == ["", "end"]
    (first, *_) = tail(log, 3)
    assert first.endswith(output.CUT)
    assert "\0" in first


@pytest.mark.parametrize("cut", [b"", b"fresh\n", b"fresh\n" * 100])
def test_a_rotated_log_that_somebody_emptied_goes_on_after_what_there_was(
    log: Path, way: str, cut: bytes
) -> None:
    content = numbered(0, 500)
    append(log, content)
    rotate_all([log], MANY)
    kept = b"".join(piece.path.read_bytes() for piece in pieces(log))
    log.write_bytes(cut)
    append(log, b"more\n")
    assert everything(log) == kept + cut + b"more\n", way
    append(log, numbered(500, 800))
    rotate_all([log], MANY)
    assert everything(log) == kept + cut + b"more\n" + numbered(500, 800)


def test_a_log_cut_off_behind_its_mark_goes_on(log: Path) -> None:
    append(log, numbered(0, 2000))
    rotate_all([log], MANY)
    kept = b"".join(piece.path.read_bytes() for piece in pieces(log))
    os.truncate(log, MARK_SIZE)
    append(log, b"new\n")
    assert everything(log) == kept + b"new\n"


def test_files_that_others_rotate_are_none_of_ours(log: Path) -> None:
    log.with_name("agent-out.log.1").write_bytes(b"logrotate's")
    append(log, b"line\n")
    assert everything(log) == b"line\n"
    remove(log)
    assert [path.name for path in log.parent.iterdir()] == ["agent-out.log.1"]


# Any sequence

_STEP = st.one_of(
    st.binary(max_size=60).map(lambda line: line + b"\n"),
    st.integers(0, 9000).map(lambda size: b"z" * size),
    st.just(b"\r\n"),
    st.just("rotate"),
    st.just("read"),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(_STEP, max_size=40), st.integers(1, 30))
def test_any_sequence_of_writes_and_rotations_reads_as_if_nothing_was_rotated(
    tmp_path_factory: pytest.TempPathFactory, way: str, steps: list[bytes | str], count: int
) -> None:
    log = tmp_path_factory.mktemp("any") / "agent-out.log"
    written = b""
    followed: list[str] = []
    follower = output.LineReader(log)
    try:
        append(log, b"")
        follower.begin(0)
        for step in steps:
            if isinstance(step, bytes):
                append(log, step)
                written += step
            elif step == "rotate":
                rotate_all([log], MANY)
                assert everything(log) == written, way
            else:
                followed += follower.read()
        followed += follower.read()
        while not follower.at_end:
            followed += follower.read()
    finally:
        follower.close()
    complete = written.split(b"\n")
    unfinished = complete.pop()
    assert followed == [output._decode(line) for line in complete]
    last = [*complete, unfinished] if unfinished else complete
    assert tail(log, count, max_bytes=1 << 30) == [output._decode(line) for line in last[-count:]]


# At full speed


@linux
def test_no_line_is_lost_doubled_or_out_of_order_while_a_process_writes_at_full_speed(
    log: Path, way: str
) -> None:
    _rotate_under_fire(log, way)


@linux
@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no /dev/shm here")
def test_the_same_on_a_file_system_in_memory() -> None:
    directory = Path("/dev/shm") / f"muxi-test-{os.getpid()}"
    directory.mkdir()
    try:
        _rotate_under_fire(directory / "agent-out.log", "punch")
    finally:
        remove(directory / "agent-out.log")
        directory.rmdir()


def _rotate_under_fire(log: Path, way: str) -> None:
    limits = LogLimits(max_size=200_000, max_files=10_000)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    writer = subprocess.Popen([sys.executable, "-I", "-S", str(APPS / "chatty.py")], stdout=out)
    os.close(out)
    try:
        rotations = 0
        while rotations < 20:
            assert writer.poll() is None
            with suppress(BlockingIOError):  # its writer did not stand still in time: again
                rotations += is_due(log, limits)
                rotate_all([log], limits)
        writer.send_signal(signal.SIGTERM)
        writer.wait(timeout=30)
    finally:
        writer.kill()
        writer.wait()
    lines = everything(log, 1 << 20).split(b"\n")
    assert lines.pop() == b"", way
    assert lines[-1] == b"end"
    assert lines[:-1] == [b"%d" % number for number in range(len(lines) - 1)]
    assert all(piece.path.read_bytes().endswith(b"\n") for piece in pieces(log)) or way == "truncate"


# A server that dies in the middle

CALLS = (
    (os, "pwrite"),
    (os, "write"),
    (os, "ftruncate"),
    (Path, "rename"),
    (Path, "unlink"),
    (fallocate, "collapse"),
    (fallocate, "punch"),
)
"""All by which a rotation changes something."""


class Died(BaseException):
    """Stands for a SIGKILL: nothing in the code handles it."""


def die_at(call: int, patch: pytest.MonkeyPatch, *, after: bool) -> list[str]:
    """Let the n-th change be the last: not done any more, or just done. Returns what is done."""
    done: list[str] = []

    def dying(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def change(*args: object, **more: object) -> object:
            if len(done) == call and not after:
                raise Died
            result = real(*args, **more)
            if len(done) == call:
                raise Died
            done.append(name)
            return result

        return change

    for owner, name in CALLS:
        patch.setattr(owner, name, dying(name, getattr(owner, name)))
    return done


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("times", [1, 2], ids=["first rotation", "second rotation"])
def test_a_server_that_dies_at_any_step_loses_and_doubles_nothing(
    tmp_path: Path, way: str, after: bool, times: int
) -> None:
    limits = LogLimits(max_size=10_000, max_files=100)
    for call in range(1000):
        log = tmp_path / f"{call}-out.log"
        content = b""
        for turn in range(times):
            rotate_all([log], limits)
            content += numbered(turn * 500, turn * 500 + 500)
            append(log, numbered(turn * 500, turn * 500 + 500))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(log_shrink, "CHUNK", 3000)
            only_way(way, patch)
            done = die_at(call, patch, after=after)
            died = False
            try:
                rotate_all([log], limits)
            except Died:
                died = True
        assert everything(log) == content, (call, done)
        append(log, b"half ")  # the process lives on
        assert everything(log) == content + b"half ", (call, done)
        append(log, b"a line\n")
        rotate_all([log], limits)
        assert everything(log) == content + b"half a line\n", (call, done)
        assert not list(tmp_path.glob("*.part"))
        if not died:
            assert len(done) > 8
            return
    pytest.fail("it never got to its end")


# Limits


def test_so_many_files_are_kept_and_the_oldest_go_first(log: Path, way: str) -> None:
    limits = LogLimits(max_size=5000, max_files=3)
    for first in range(0, 2000, 100):
        append(log, numbered(first, first + 100))
        rotate_all([log], limits)
        assert len(pieces(log)) <= 3
        assert numbered(0, first + 100).endswith(everything(log)), way
    assert len(pieces(log)) == 3
    assert len(everything(log)) > 3 * 4000


def test_all_logs_of_a_process_share_a_total(tmp_path: Path, way: str) -> None:
    out, err = tmp_path / "agent-out.log", tmp_path / "agent-err.log"
    limits = LogLimits(max_size=20_000, max_files=50, max_total=100_000)
    for first in range(0, 4000, 200):
        append(out, numbered(first, first + 200))
        if first < 1000:
            append(err, numbered(first, first + 200))
        rotate_all([out, err], limits)
        assert room_taken([out, err]) <= 100_000 + 2 * 3 * 4096, way
    assert room_taken([out, err]) > 80_000
    assert numbered(0, 4000).endswith(everything(out))
    assert numbered(0, 1000).endswith(everything(err))
    assert len(everything(err)) < 25_000  # what it had said was the oldest


def test_what_would_be_dropped_at_once_is_not_even_copied(
    log: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[int] = []

    def copy(fd: int, offset: int, size: int, path: Path) -> None:
        copied.append(size)
        log_shrink.write_part(fd, offset, size, path)

    monkeypatch.setattr(log_rotation, "write_part", copy)
    append(log, numbered(0, 5000))
    rotate_all([log], LogLimits(max_size=5000, max_files=3))
    assert numbered(0, 5000).endswith(everything(log)), way
    assert 4000 < len(everything(log)) <= 20_000
    assert sum(copied) <= 10_000


def test_a_burst_within_the_limits_is_kept_whole(tmp_path: Path, way: str) -> None:
    out, err = tmp_path / "agent-out.log", tmp_path / "agent-err.log"
    limits = LogLimits(max_size=100_000, max_files=10)
    append(out, numbered(0, 16_000))
    rotate_all([out, err], limits)
    assert len(numbered(0, 16_000)) > 800_000
    assert everything(out) == numbered(0, 16_000), way


def test_the_smallest_total_has_room_for_a_rotation() -> None:
    assert LogLimits(1000, 10, max_total=1).total(2) == 3000
    assert LogLimits(1000, 10).total(2) == 22_000
    assert LogLimits(1000, 10, max_total=10**9).total(2) == 22_000
    assert LogLimits(1000, 10, max_total=9000).total(2) == 9000


# Removed or emptied by others, in the middle


@pytest.mark.parametrize("act", [remove, Path.unlink, lambda log: log.write_bytes(b"")])
def test_a_log_that_goes_while_it_is_copied_leaves_nothing_behind(
    log: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], None]
) -> None:
    append(log, numbered(0, 500))
    real = log_shrink.write_part

    def copy_and_act(*args: object) -> None:
        real(*args)  # type: ignore[arg-type]
        act(log)

    monkeypatch.setattr(log_rotation, "write_part", copy_and_act)
    rotate_all([log], LogLimits(max_size=10_000, max_files=10))
    assert [path.name for path in log.parent.iterdir()] in ([], [log.name])
    assert not log.exists() or log.read_bytes() == b""


# A full disk


@pytest.mark.parametrize("small_disk", ["tmpfs", "ext4"], indirect=True)
def test_a_disk_that_others_have_filled_does_not_stop_the_formation(small_disk: Path) -> None:
    log = small_disk / "agent-out.log"
    limits = LogLimits(max_size=100_000, max_files=50)
    append(log, numbered(0, 4000))
    with (small_disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(b"x" * 4096)
    assert rotate_all([log], limits) > 0
    assert numbered(0, 4000).endswith(everything(log))
    append(log, b"there is room again\n")
    assert everything(log).endswith(b"there is room again\n")


def test_another_failure_is_told_and_loses_nothing(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(log, numbered(0, 500))

    def broken(*_args: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(log_rotation, "write_part", broken)
    with pytest.raises(OSError, match="Input/output"):
        rotate_all([log], MANY)
    monkeypatch.undo()
    assert everything(log) == numbered(0, 500)
    rotate_all([log], MANY)
    assert everything(log) == numbered(0, 500)


def test_macos_punches_by_another_call(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(
        "fcntl.fcntl", lambda fd, call, data: calls.append((fd, call, *struct.unpack("=IIqq", data)))
    )
    fallocate.punch(7, 4096, 8192)
    assert calls == [(7, 99, 0, 0, 4096, 8192)]  # struct fpunchhole of <sys/fcntl.h>
