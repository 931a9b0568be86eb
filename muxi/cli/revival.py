"""A server that did not survive an upgrade, brought back as it was started: the same words, place and output.

Only where nobody else does it: a service manager's word comes first. Linux alone tells how
another process was started.
"""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from muxi.registry.lock import holder
from muxi.registry.outcome import read_outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from muxi.registry.outcome import Outcome

MANAGER_SECONDS: Final = 30.0
"""How long a manager that is known of has: it pauses before it starts a service again."""
OTHERS_SECONDS: Final = 5.0
"""How long whoever else looks after the server has, before it is done here."""
START_SECONDS: Final = 120.0
PAUSE: Final = 0.05
OPENED: Final = os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_NONBLOCK", 0)
"""How an output is opened: without waiting for a pipe that nobody reads any more."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a server's process was started."""

    pid: int
    command: tuple[bytes, ...]
    directory: Path
    environment: dict[bytes, bytes]
    outputs: tuple[int, int]

    @property
    def managed(self) -> bool:
        """Whether systemd started it. What it tells a service is inherited by all that this starts."""
        told = self.environment.get(b"SYSTEMD_EXEC_PID")
        if told is not None:
            return told == str(self.pid).encode()
        return b"NOTIFY_SOCKET" in self.environment or b"INVOCATION_ID" in self.environment

    def again(self) -> subprocess.Popen[bytes]:
        """Start another process so, which outlives this one. Raises OSError."""
        out, err = self.outputs
        return subprocess.Popen(
            self.command,
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )


@contextmanager
def beginning_of(pid: int) -> Iterator[Beginning | None]:
    """Find out how a process was started, while it lives; None where that can't be known."""
    process = Path(f"/proc/{pid}")
    with ExitStack() as opened:

        def output(number: int) -> int:
            fd = os.open(process / "fd" / str(number), OPENED)
            opened.callback(os.close, fd)
            os.set_blocking(fd, True)
            return fd

        try:
            found = Beginning(
                pid,
                tuple((process / "cmdline").read_bytes().split(b"\0")[:-1]),
                (process / "cwd").readlink(),
                _pairs((process / "environ").read_bytes()),
                (output(1), output(2)),
            )
        except OSError:
            found = None
        yield found


def bring_back(data_dir: Path, beginning: Beginning | None) -> Outcome | None:
    """Wait for a server to serve, and start one if nobody else does. None: none came up."""
    managed = beginning is None or beginning.managed
    found = _serving(data_dir, MANAGER_SECONDS if managed else OTHERS_SECONDS)
    if found is not None or managed:
        return found
    assert beginning is not None
    try:
        process = beginning.again()
    except OSError:
        return None
    return _serving(data_dir, START_SECONDS, lambda: process.poll() is None)


def _serving(data_dir: Path, seconds: float, hopeful: Callable[[], bool] = lambda: True) -> Outcome | None:
    """Wait until a server says that it serves; one that is there, and has not, has more time."""
    deadline, extended = time.monotonic() + seconds, False
    while time.monotonic() < deadline and hopeful():
        pid, outcome = holder(data_dir), read_outcome(data_dir)
        if pid is not None and outcome is not None and outcome.pid == pid and outcome.ok:
            return outcome
        if pid is not None and not extended:
            deadline, extended = deadline + START_SECONDS, True
        time.sleep(PAUSE)
    return None


def _pairs(environment: bytes) -> dict[bytes, bytes]:
    pairs = (entry.partition(b"=") for entry in environment.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}
