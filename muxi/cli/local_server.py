"""The server of this machine that holds a data directory: found by its lock, asked by signals."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muxi.errors import OperatorError
from muxi.registry.lock import holder
from muxi.registry.outcome import read_outcome

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.registry.outcome import Outcome

PAUSE = 0.05
"""Between two looks for the outcome. The server is another process, and its file may be anywhere."""


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server that ran when it was looked for. Its pid is the one that the lock's holder wrote."""

    data_dir: Path
    pid: int

    @classmethod
    def find(cls, data_dir: Path) -> LocalServer:
        """Raise OperatorError when no server holds the data directory."""
        try:
            pid = holder(data_dir)
        except PermissionError as error:
            raise OperatorError(
                f"The lock of {data_dir} can't be looked at: {error.strerror}.",
                cure="Run this as the user that the server runs as.",
            ) from error
        if pid is None:
            raise OperatorError(
                f"No server runs on the data directory {data_dir}.",
                cure="Start one with: muxi-server start, or name another directory (--data-dir).",
            )
        return cls(data_dir, pid)

    def ask(self, name: str, timeout: float) -> Outcome:
        """Send a signal, and wait for what becomes of it, `timeout` seconds at most. Raises OperatorError."""
        before = self._serial()
        self._send(name)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            outcome = read_outcome(self.data_dir)
            if outcome is not None and outcome.pid == self.pid and outcome.serial > before:
                return outcome
            if holder(self.data_dir) != self.pid:
                raise OperatorError(f"The server (pid {self.pid}) has ended.", cure="See its log.")
            time.sleep(PAUSE)
        raise OperatorError(
            f"The server (pid {self.pid}) did not say within {timeout:g} s what became of it.",
            cure="See its log; it may still be under way.",
        )

    def _serial(self) -> int:
        outcome = read_outcome(self.data_dir)
        return outcome.serial if outcome is not None and outcome.pid == self.pid else 0

    def _send(self, name: str) -> None:
        number = signal.Signals.__members__.get(name)
        if number is None:
            raise OperatorError("This system has no such signals.", cure="Restart the server.")
        try:
            if not hasattr(os, "pidfd_open"):
                os.kill(self.pid, number)
                return
            fd = os.pidfd_open(self.pid)
            try:
                # With the process held, so that its pid can't become another's, the proof again.
                if holder(self.data_dir) == self.pid:
                    signal.pidfd_send_signal(fd, number)
            finally:
                os.close(fd)
        except PermissionError as error:
            raise OperatorError(
                f"The server (pid {self.pid}) is another user's.",
                cure="Run this as the user that the server runs as.",
            ) from error
        except ProcessLookupError:
            pass  # It has ended: seen by whoever waits for its answer.
