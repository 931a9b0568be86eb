"""Orphans that come to us are collected, and nobody else's children are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from muxi.process import procfs
from muxi.process.reaper import GRACE, Reaper

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    MakeEnded = Callable[..., subprocess.Popen[bytes]]
    Eventually = Callable[[Callable[[], bool]], Awaitable[None]]

ROOT = Path(__file__).parents[2]
WARDEN = Path(__file__).parent / "apps" / "warden.py"
NAMESPACE = ("unshare", "--fork", "--pid", "--mount-proc", "--kill-child")


def may_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False, timeout=30).returncode == 0


def run_warden(directory: Path, *before: str) -> dict[str, object]:
    done = subprocess.run(
        [*before, sys.executable, str(WARDEN), str(directory)],
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_two_hundred_orphans_leave_no_zombie(tmp_path: Path) -> None:
    told = run_warden(tmp_path)
    assert told.pop("pid") != 1
    assert told == {"subreaper": True, "zombies after": 0, "status": 7, "other part": 5}


def test_nor_do_they_where_we_are_the_first_process(tmp_path: Path) -> None:
    if not may_unshare():
        pytest.skip("this machine lets us have no PID namespace (unshare)")
    told = run_warden(tmp_path, *NAMESPACE)
    assert told == {
        "pid": 1,
        "subreaper": True,
        "zombies after": 0,
        "status": 7,
        "other part": 5,
    }


# What is collected, and when


@pytest.fixture
def ended() -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start processes that end at once, of our session or of their own, and wait until they are zombies."""
    made: list[subprocess.Popen[bytes]] = []

    def make(*, own_session: bool = False) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""], start_new_session=own_session)
        made.append(process)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        return process

    yield make
    for process in made:
        process.wait()  # what has been collected already is no error for it


def is_zombie(process: subprocess.Popen[bytes]) -> bool:
    stat = procfs.read_stat(process.pid)
    return stat is not None and stat.state == "Z"


def test_an_orphan_of_another_session_is_collected_at_once(
    ended: MakeEnded,
) -> None:
    process = ended(own_session=True)
    assert Reaper(frozenset()).collect(0.0) == float("inf")
    assert not is_zombie(process)


def test_a_supervised_one_hides_no_orphan_and_stays(ended: MakeEnded) -> None:
    kept, orphan = ended(own_session=True), ended(own_session=True)
    Reaper({kept.pid}).collect(0.0)
    assert is_zombie(kept)
    assert not is_zombie(orphan)


def test_a_child_of_another_part_is_left_to_it_for_a_while(
    ended: MakeEnded,
) -> None:
    process = ended()
    reaper = Reaper(frozenset())
    assert reaper.collect(100.0) == 100.0 + GRACE
    assert reaper.collect(110.0) == 100.0 + GRACE
    assert is_zombie(process)
    assert reaper.collect(100.0 + GRACE) == float("inf")
    assert not is_zombie(process)


def test_without_children_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise ChildProcessError

    monkeypatch.setattr(os, "waitid", none)
    assert Reaper(frozenset()).collect(0.0) == float("inf")


async def test_the_signal_wakes_it(ended: MakeEnded, eventually: Eventually) -> None:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(Reaper(frozenset()).run)
            process = await trio.lowlevel.open_process(["/bin/true"], start_new_session=True)
            await eventually(lambda: procfs.read_stat(process.pid) is None)
            await process.wait()
            nursery.cancel_scope.cancel()


async def test_elsewhere_it_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with trio.fail_after(30):
        await Reaper(frozenset()).run()
