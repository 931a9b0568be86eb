from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import trio

from muxi.process import exits, procfs


def start(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", code])


def finish(child: subprocess.Popen[bytes], pidfd: int | None) -> None:
    child.returncode = 0  # it has been reaped; Popen must not try to
    if pidfd is not None:
        os.close(pidfd)


@pytest.mark.parametrize("with_pidfd", [True, False])
async def test_exit_is_seen_and_the_zombie_stays_until_reaped(with_pidfd: bool) -> None:
    child = start("raise SystemExit(3)")
    pidfd = exits.open_pidfd(child.pid) if with_pidfd else None
    assert (pidfd is not None) is with_pidfd
    with trio.fail_after(30):
        await exits.wait_exit(child.pid, pidfd)
        await exits.wait_exit(child.pid, pidfd)  # as often as one likes, until it is reaped
    stat = procfs.read_stat(child.pid)
    assert stat is not None
    assert not stat.alive
    report = exits.reap(child.pid, expected=False)
    assert report is not None
    assert (report.status, report.signal_number, report.expected) == (3, None, False)
    assert procfs.read_stat(child.pid) is None
    finish(child, pidfd)


async def test_death_by_signal_is_told_as_such() -> None:
    child = start("import time; time.sleep(600)")
    pidfd = exits.open_pidfd(child.pid)
    assert exits.reap(child.pid, expected=True) is None  # alive: nothing to reap
    child.send_signal(signal.SIGKILL)
    with trio.fail_after(30):
        await exits.wait_exit(child.pid, pidfd)
    report = exits.reap(child.pid, expected=True)
    assert report is not None
    assert (report.status, report.signal_number, report.clean) == (None, signal.SIGKILL, True)
    assert report.describe() == "killed by SIGKILL"
    finish(child, pidfd)


async def test_nobody_is_reaped_twice() -> None:
    child = start("")
    pidfd = exits.open_pidfd(child.pid)
    with trio.fail_after(30):
        await exits.wait_exit(child.pid, pidfd)
    assert exits.reap(child.pid, expected=False) is not None
    with pytest.raises(ChildProcessError):
        exits.reap(child.pid, expected=False)
    finish(child, pidfd)


@pytest.mark.parametrize("with_pidfd", [True, False])
async def test_many_short_lived_children_at_once(with_pidfd: bool) -> None:
    async def one(number: int) -> None:
        child = start(f"raise SystemExit({number})")
        pidfd = exits.open_pidfd(child.pid) if with_pidfd else None
        await exits.wait_exit(child.pid, pidfd)
        report = exits.reap(child.pid, expected=False)
        assert report is not None
        statuses.append(report.status)
        finish(child, pidfd)

    statuses: list[int | None] = []
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(one, number)
    assert sorted(filter(None, statuses)) == list(range(1, 100))


@pytest.mark.parametrize("with_pidfd", [True, False])
async def test_waiting_can_be_cancelled(with_pidfd: bool) -> None:
    child = start("import time; time.sleep(600)")
    pidfd = exits.open_pidfd(child.pid) if with_pidfd else None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exits.wait_exit, child.pid, pidfd)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    child.kill()
    with trio.fail_after(30):
        await exits.wait_exit(child.pid, pidfd)
    assert exits.reap(child.pid, expected=True) is not None
    finish(child, pidfd)


def test_no_handle_for_a_pid_that_nobody_has() -> None:
    child = start("")
    child.wait()
    assert exits.open_pidfd(child.pid) is None
