"""A child's exit as an event: seen within milliseconds, and reaped once.

Seeing and reaping are apart on purpose. Between the two the child is a zombie, and its pid and
its process group's id can't be given to anybody else; so whatever must be signalled is signalled
then. Never wait for a child's exit by any other means than these.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress

import trio

from muxi.errors import OperatorError
from muxi.process import kqueue, procfs
from muxi.process.spec import ExitReport


def open_pidfd(pid: int) -> int | None:
    """Return a handle that becomes readable when the process ends; it need not be our child.

    None where the system has none (not Linux, a kernel before 5.3, a sandbox that refuses it)
    and when there is no such process. The descriptor is close-on-exec (pidfd_open(2)).
    """
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


async def wait_exit(pid: int, pidfd: int | None) -> None:
    """Wait until our child `pid` has ended; does not reap it. One waiter at a time a descriptor."""
    if pidfd is not None:
        await trio.lowlevel.wait_readable(pidfd)
    elif sys.platform == "darwin":
        await kqueue.wait_exit(pid)
    else:
        await _wait_in_thread(pid)


def has_ended(pid: int) -> bool:
    """Say whether a process has ended, though it may not be reaped yet. False where it can't be told."""
    if procfs.boot_id() is None:
        return False
    stat = procfs.read_stat(pid)
    return stat is None or not stat.alive


def collect(pid: int, start_ticks: int) -> None:
    """Reap a process that has ended, if it is our child and was started then; else do nothing."""
    stat = procfs.read_stat(pid)
    if stat is not None and not stat.alive and stat.start_ticks == start_ticks:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def does_not_end(pid: int) -> OperatorError:
    """Say that a process was killed and is there all the same."""
    return OperatorError(
        f"Process {pid} does not end, even after SIGKILL.",
        code="StopError",
        cure="It hangs inside the kernel, mostly on a disk or network file system: mend that.",
    )


def reap(pid: int, *, expected: bool) -> ExitReport | None:
    """Collect our child's exit. None when it has not ended yet. Call it until it is not None.

    Raises ChildProcessError when `pid` is no child of ours (any more).
    """
    reaped, status = os.waitpid(pid, os.WNOHANG)
    if reaped == 0:
        return None
    code = os.waitstatus_to_exitcode(status)
    return ExitReport(
        status=code if code >= 0 else None,
        signal_number=-code if code < 0 else None,
        expected=expected,
        at=time.time(),
    )


async def _wait_in_thread(pid: int) -> None:
    def wait() -> None:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    # A limiter of its own: hundreds of waiting children must not use up trio's shared threads.
    # A thread left by a cancellation ends with the child, which is always killed then.
    await trio.to_thread.run_sync(wait, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
