"""A server that did not survive an upgrade, brought back as it was started: the same words, place and output.

Only where nobody else does it: a service manager's word comes first. Linux alone tells how
another process was started.
"""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from muxi.registry.lock import holder
from muxi.registry.outcome import read_outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.registry.outcome import Outcome

MANAGED_BY: Final = ("INVOCATION_ID", "NOTIFY_SOCKET")
"""What systemd tells those that it starts, and starts again."""
MANAGER_SECONDS: Final = 30.0
"""How long a manager that is known of has: it pauses before it starts a service again."""
OTHERS_SECONDS: Final = 5.0
"""How long whoever else looks after the server has, before it is done here."""
START_SECONDS: Final = 120.0
PAUSE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a server's process was started. Asked for while it lives; `close` it at last."""

    command: tuple[bytes, ...]
    directory: Path
    environment: dict[bytes, bytes]
    outputs: tuple[int, int]

    @classmethod
    def of(cls, pid: int) -> Beginning | None:
        """Return None where that can't be known."""
        process = Path(f"/proc/{pid}")
        with ExitStack() as opened:
            try:
                command = tuple((process / "cmdline").read_bytes().split(b"\0")[:-1])
                environment = _pairs((process / "environ").read_bytes())
                outputs = []
                for number in "12":
                    outputs.append(os.open(process / "fd" / number, os.O_WRONLY | os.O_APPEND))
                    opened.callback(os.close, outputs[-1])
                directory = (process / "cwd").readlink()
            except OSError:
                return None
            opened.pop_all()
        return cls(command, directory, environment, (outputs[0], outputs[1]))

    @property
    def managed(self) -> bool:
        return any(name.encode() in self.environment for name in MANAGED_BY)

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

    def close(self) -> None:
        for fd in self.outputs:
            os.close(fd)


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
