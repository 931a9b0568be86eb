"""How an exit is told in words."""

from __future__ import annotations

import signal

import pytest

from muxi.process.spec import ExitReport


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (ExitReport(3, None, expected=False, at=0), "exit status 3"),
        (ExitReport(None, signal.SIGSEGV, expected=False, at=0), "killed by SIGSEGV"),
        (ExitReport(None, 63, expected=False, at=0), "killed by signal 63"),
        (
            ExitReport(None, signal.SIGKILL, expected=False, at=0, oom=True, memory_limit=512 * 1024**2),
            "ran out of memory (limit 512M)",
        ),
        (ExitReport(137, None, expected=False, at=0, oom=True), "ran out of memory"),
    ],
)
def test_an_exit_in_words(report: ExitReport, words: str) -> None:
    assert report.describe() == words


def test_want_of_memory_is_never_clean() -> None:
    assert not ExitReport(None, signal.SIGKILL, expected=False, at=0, oom=True).clean
