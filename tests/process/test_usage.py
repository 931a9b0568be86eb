"""What processes use: read from /proc's own texts, and from a /proc that the test has written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from muxi.process import procfs
from muxi.process.spawn import spawn
from muxi.process.usage import PAGE, TICKS, Root, Sample, Walk, add_up, parse_stat

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.process.conftest import MakeSpec

    Eventually = Callable[[Callable[[], bool]], Awaitable[None]]

REAL = (
    b"4242 (a (strange) S name) S 17 4240 4241 0 -1 4194560 2034 512 0 0 120 30 7 3 20 0 9 0 "
    b"5312 123456789 2500 18446744073709551615 1 1 0 0 0 0 0 16781312 134235650 0 0 0 17 1 0 0 0 0 0"
)


def test_a_stat_is_read() -> None:
    assert parse_stat(4242, REAL) == Sample(
        pid=4242,
        state="S",
        parent=17,
        group=4240,
        session=4241,
        ticks=160,
        threads=9,
        start_ticks=5312,
        pages=2500,
    )


def test_our_own_stat_is_what_we_know_of_ourselves() -> None:
    content = procfs.raw_stat(os.getpid())
    assert content is not None
    sample = parse_stat(os.getpid(), content)
    assert (sample.parent, sample.group, sample.session) == (os.getppid(), os.getpgid(0), os.getsid(0))
    assert sample.pages > 100
    assert sample.threads >= 1


def test_a_family_is_added_up() -> None:
    family = [
        Sample(1, "S", 0, 1, 1, 3 * TICKS, 4, 1, 10),
        Sample(2, "R", 1, 1, 1, TICKS // 2, 1, 1, 5),
    ]
    used = add_up(family, 12, 99.0)
    assert (used.processes, used.threads, used.memory, used.cpu_seconds) == (2, 5, 15 * PAGE, 3.5)
    assert (used.open_files, used.at) == (12, 99.0)


class Proc:
    """A /proc of the test's own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.reads: list[int] = []

    def add(
        self, pid: int, parent: int, *, group: int = 0, session: int = 0, token: str = "", pages: int = 1
    ) -> None:
        home = self.directory / str(pid)
        (home / "fd").mkdir(parents=True)
        numbers = [parent, group or pid, session or pid, *[0] * 13, 1, 0, pid * 10, 0, pages]
        (home / "stat").write_text(f"{pid} (x) S {' '.join(map(str, numbers))}\n")
        (home / "environ").write_text(f"A=b\0{procfs.TOKEN_VARIABLE}={token}\0" if token else "A=b\0")

    def remove(self, pid: int) -> None:
        (self.directory / str(pid) / "stat").unlink()


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proc:
    made = Proc(tmp_path / "proc")
    read = procfs.token_sha256

    def noted(pid: int) -> str | None:
        made.reads.append(pid)
        return read(pid)

    monkeypatch.setattr(procfs, "PROC", made.directory)
    monkeypatch.setattr(procfs, "token_sha256", noted)
    return made


ROOTS = (Root(100, procfs.hash_token(b"one")), Root(200, procfs.hash_token(b"two")))


def test_processes_are_found_by_group_session_parent_and_token(proc: Proc) -> None:
    proc.add(1, 0)
    proc.add(50, 1)  # us
    proc.add(100, 50, pages=1)
    proc.add(101, 100, group=100, session=100, pages=2)
    proc.add(102, 1, group=102, session=100, pages=4)  # a group of its own in the session
    proc.add(103, 50, token="one", pages=8)  # a daemon: nothing but the token
    proc.add(104, 103, pages=16)  # its child, with an environment of its own
    proc.add(200, 50, pages=32)
    proc.add(300, 1, pages=64)  # a stranger
    proc.add(301, 300, token="another server's", pages=128)
    measured = Walk().measure(ROOTS, 1.0)
    assert {pid: (used.processes, used.memory // PAGE) for pid, used in measured.items()} == {
        100: (5, 31),
        200: (1, 32),
    }


def test_a_strangers_environment_is_read_once(proc: Proc) -> None:
    proc.add(1, 0)
    proc.add(100, 1)
    proc.add(300, 1)
    walk = Walk()
    walk.measure(ROOTS, 1.0)
    assert sorted(proc.reads) == [1, 300]
    proc.add(301, 1)
    walk.measure(ROOTS, 2.0)
    assert sorted(proc.reads) == [1, 300, 301]


def test_one_who_got_the_pid_of_another_is_looked_at_anew(proc: Proc) -> None:
    proc.add(100, 1)
    proc.add(300, 1)
    walk = Walk()
    walk.measure(ROOTS, 1.0)
    stat = proc.directory / "300" / "stat"
    stat.write_text(stat.read_text().replace(" 3000 ", " 3001 "))
    walk.measure(ROOTS, 2.0)
    assert proc.reads.count(300) == 2


def test_zombies_are_not_counted(proc: Proc) -> None:
    proc.add(100, 1)
    proc.add(101, 100, group=100)
    proc.add(200, 1)
    for pid in (101, 200):
        stat = proc.directory / str(pid) / "stat"
        stat.write_text(stat.read_text().replace(" S ", " Z "))
    assert {pid: used.processes for pid, used in Walk().measure(ROOTS, 1.0).items()} == {100: 1}


def test_who_has_gone_is_not_measured(proc: Proc) -> None:
    proc.add(100, 1)
    proc.add(200, 1)
    proc.remove(200)
    assert list(Walk().measure(ROOTS, 1.0)) == [100]


def test_open_files_are_counted_unless_we_may_not_look(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    proc.add(100, 1)
    monkeypatch.setattr(procfs, "count_open_files", lambda _: 7)
    assert Walk().measure(ROOTS, 1.0)[100].open_files == 7

    def refuse(_: int) -> int:
        raise PermissionError

    monkeypatch.setattr(procfs, "count_open_files", refuse)
    assert Walk().measure(ROOTS, 1.0)[100].open_files is None


async def test_a_real_family_is_measured(make_spec: MakeSpec, eventually: Eventually) -> None:
    code = (
        "import os, time\n"
        "files = [open('/dev/null') for _ in range(20)]\n"
        "if os.fork() == 0: os.setsid()\n"
        "else: print('up', flush=True)\n"
        "data = bytearray(30 * 1024 * 1024)\n"
        "time.sleep(600)\n"
    )
    spec = make_spec(code, token="the token")
    child = await spawn(spec)
    root = Root(child.pid, procfs.hash_token(b"the token"))
    walk = Walk()

    def grown() -> bool:
        used = walk.measure([root], 5.0).get(child.pid)
        return used is not None and used.processes == 2 and used.memory > 60 * 1024**2

    await eventually(grown)
    used = walk.measure([root], 5.0)[child.pid]
    assert used.threads == 2
    assert used.open_files is not None
    assert used.open_files >= 46
    assert used.cpu_seconds >= 0
    await child.end(expected=True)
    assert walk.measure([root], 6.0) == {}
