"""A server that runs as a process of its own, for the tests that need a true one."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.program import muxi_command

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator

    from tests.cli.conftest import Installation

SECONDS = 60


def command(*arguments: str) -> list[str]:
    return muxi_command(*arguments)


def environment(installation: Installation) -> dict[str, str]:
    return {**os.environ, **installation.environment, "PYTHONUNBUFFERED": "1"}


class Started:
    """A running server, once its log has said where it listens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.output = ""
        for line in process.stdout:
            self.output += line
            found = re.search(r"url=\"?http://[^ :]+:(\d+)", line)
            if found:
                self.port = int(found[1])
                break
        else:
            pytest.fail(f"the server ended: {self.output}")

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        assert self.process.stdout is not None
        self.output += self.process.stdout.read()
        return self.process.wait(SECONDS)


@contextmanager
def started(installation: Installation, *arguments: str) -> Iterator[Started]:
    with subprocess.Popen(
        command(*arguments),
        env=environment(installation),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        watchdog = threading.Timer(2 * SECONDS, process.kill)
        watchdog.start()
        try:
            yield Started(process)
        finally:
            process.kill()
            watchdog.cancel()
            watchdog.join()
