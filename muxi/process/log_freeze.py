"""Stopping those who write to a file, for a moment: where a file system can neither shift nor punch.

They are found by what they have open, so descendants that left the process group are among them;
only who appends to this very file is ever signalled. A file beside the log tells the next server
of writers that were stopped when this one died; `thaw` wakes them.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from muxi.process.log_mark import look, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_SECONDS = 2.0
"""How long to wait for the writers to stop. One that hangs in the kernel is not waited for."""
_PAUSE = 0.0005
_ENDED = frozenset("ZXx")
_STOPPED = frozenset("Tt")


@contextmanager
def frozen(log: Path) -> Iterator[bool]:
    """Stop all that append to a log, for the block; yields whether they all stand still. Blocks.

    Who was stopped before stays so. Raises OSError when the file beside the log can't be made.
    """
    note = _note(log)
    note.touch(mode=0o600)
    stopped: dict[int, int] = {}
    try:
        yield _stop_all(log, stopped)
    finally:
        for pidfd in stopped.values():
            _send(pidfd, signal.SIGCONT)
            os.close(pidfd)
        note.unlink(missing_ok=True)


def thaw(log: Path) -> None:
    """Wake those whom an earlier server, which died in `frozen`, has left stopped. Blocks.

    The mark is put right before that: they may append more than it can be told from later.
    """
    note = _note(log)
    if note.exists():
        with suppress(FileNotFoundError), log.open("r+b", buffering=0) as file:
            mark, _ = look(file.fileno())
            if mark is not None:
                stamp(file.fileno(), mark)
        for pid in writers(log):
            with suppress(ProcessLookupError):
                pidfd = os.pidfd_open(pid)
                _send(pidfd, signal.SIGCONT)
                os.close(pidfd)
        note.unlink(missing_ok=True)


def writers(log: Path) -> set[int]:
    """Return the processes, other than this one, that append to a file."""
    try:
        wanted = log.stat()
    except FileNotFoundError:
        return set()
    mine = os.getpid()
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return {pid for pid in pids if pid != mine and _appends(pid, wanted)}


def _appends(pid: int, wanted: os.stat_result) -> bool:
    # Between two looks a process may end, and its files may be closed; others' may not be seen.
    with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with suppress(OSError):
                if os.path.samestat(entry.stat(), wanted) and _flags(pid, entry.name) & os.O_APPEND:
                    return True
    return False


def _flags(pid: int, fd: str) -> int:
    for line in Path(f"/proc/{pid}/fdinfo/{fd}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "flags":
            return int(value, 8)
    return 0


def _stop_all(log: Path, stopped: dict[int, int]) -> bool:
    deadline = time.monotonic() + MOST_SECONDS
    while time.monotonic() < deadline:
        new = {pid for pid in writers(log) - stopped.keys() if not _stands_still(pid)}
        if not new:
            return True  # nobody has come of those who were stopped last
        for pid in new:
            with suppress(ProcessLookupError):
                stopped[pid] = os.pidfd_open(pid)
                _send(stopped[pid], signal.SIGSTOP)
        while not all(map(_stands_still, stopped)):
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE)
    return False


def _stands_still(pid: int) -> bool:
    try:
        tasks = [task.name for task in Path(f"/proc/{pid}/task").iterdir()]
        states = [_state(pid, task) for task in tasks]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return all(state in _STOPPED | _ENDED for state in states)


def _state(pid: int, task: str) -> str:
    try:
        stat = Path(f"/proc/{pid}/task/{task}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return "X"
    return stat.rpartition(")")[2].split()[0]


def _send(pidfd: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)


def _note(log: Path) -> Path:
    return log.with_name(f"{log.name}.frozen")
