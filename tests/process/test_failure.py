from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muxi.process import failure
from muxi.process.probe import ProbeResult
from muxi.process.spec import ExitReport

if TYPE_CHECKING:
    from tests.process.conftest import MakeSpec

EXIT_3 = ExitReport(status=3, signal_number=None, expected=False, at=1.0)
REFUSED = ProbeResult(False, "GET /v1/health: connection refused")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (0.25, "250ms"), (1, "1s"), (1.5, "1.5s"), (30, "30s"), (60, "1m0s"), (90.5, "1m30.5s"),
        (300, "5m0s"), (3600, "1h0m0s"), (7265, "2h1m5s"),
    ],
)  # fmt: skip
def test_durations_are_written_as_go_does(seconds: float, text: str) -> None:
    assert failure.go_duration(seconds) == text


def test_crash_tells_status_and_last_words() -> None:
    lines = ["stdout: starting", "stderr: ImportError: no module 'x'", "stderr:   "]
    error = failure.crashed(EXIT_3, REFUSED, lines)
    assert error.message == "Formation crashed during startup: exit status 3: ImportError: no module 'x'"
    assert (error.status, error.code, error.stage) == (400, "HealthCheckFailed", "health_check")
    assert error.cure
    assert error.details["log_tail"] == lines
    assert error.details["probe"] == "GET /v1/health: connection refused"
    exit_details = error.details["exit"]
    assert isinstance(exit_details, dict)
    assert exit_details["status"] == 3
    assert exit_details["description"] == "exit status 3"


def test_crash_without_a_word() -> None:
    error = failure.crashed(ExitReport(None, 11, expected=False, at=1.0), None, [])
    assert error.message == "Formation crashed during startup: killed by SIGSEGV"
    assert error.details["probe"] is None


def test_last_words_are_bounded() -> None:
    assert len(failure.crashed(EXIT_3, None, ["stderr: " + "x" * 60_000]).message) < 400


def test_time_out_tells_what_the_check_saw() -> None:
    error = failure.timed_out(60.0, EXIT_3, REFUSED, [])
    assert error.message == "Formation failed health check after 1m0s: GET /v1/health: connection refused"
    assert failure.timed_out(30.0, EXIT_3, None, []).message.endswith("after 30s: no check was answered")


def test_log_tail_has_twenty_lines_of_each_stream(make_spec: MakeSpec) -> None:
    spec = make_spec(("x",))
    spec.stdout.parent.mkdir()
    spec.stdout.write_text("".join(f"{n}\n" for n in range(100)))
    assert failure.log_tail(spec, (0, 0)) == [f"stdout: {n}" for n in range(80, 100)]
    spec.stderr.mkdir()
    assert failure.log_tail(spec, (0, 0))[-1] == "stderr: (can't be read: Is a directory)"
