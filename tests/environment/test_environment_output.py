from __future__ import annotations

import pytest

from muxi.environment.output import KEPT_LINES, Ticker, Transcript, failure, summary
from muxi.errors import FormationFailed, StorageError

PIP = """Looking in indexes: https://pypi.org/simple
WARNING: something
ERROR: Could not find a version that satisfies the requirement nope (from versions: none)
ERROR: No matching distribution found for nope
[notice] A new release of pip is available""".splitlines()
UV = """Using Python 3.12.1 environment at: env
  \u00d7 No solution found when resolving dependencies:
  ╰─▶ Because nope was not found in the package registry and you require
      nope, we can conclude that your requirements are unsatisfiable.""".splitlines()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            PIP,
            (
                "Could not find a version that satisfies the requirement nope (from versions: none); "
                "No matching distribution found for nope"
            ),
        ),
        (
            UV,
            (
                "No solution found when resolving dependencies:; Because nope was not found in the package "
                "registry and you require; nope, we can conclude that your requirements are unsatisfiable."
            ),
        ),
        (["one", "two", "", "three", "four"], "two; three; four"),
        ([], ""),
    ],
)
def test_the_installers_own_words(lines: list[str], said: str) -> None:
    assert summary(lines) == said


def test_of_a_long_line_both_ends_are_kept() -> None:
    said = summary([f"ERROR: from versions: {'1.0, ' * 500}9.9"])
    assert len(said) < 500
    assert said.startswith("from versions")
    assert said.endswith("9.9")


def test_passwords_and_control_characters_are_not_kept() -> None:
    transcript = Transcript()
    shown = transcript.add(
        "\x1b[31mLooking in indexes: https://joe:s3cret@host/simple, https://tok@other\x1b[0m"
    )
    assert "s3cret" not in shown
    assert "tok" not in shown
    assert "https://***@host/simple" in shown
    assert "\x1b" not in shown
    assert list(transcript.lines) == [shown]


def test_only_the_last_lines_are_kept() -> None:
    transcript = Transcript()
    for number in range(KEPT_LINES + 10):
        transcript.add(f"line {number}")
    assert transcript.lines[0] == "line 10"
    assert transcript.lines[-1] == f"line {KEPT_LINES + 9}"


def test_each_sort_of_work_is_told_but_not_each_line() -> None:
    ticker = Ticker()
    told = [
        ticker.tell("Collecting a", 0.0),
        ticker.tell("Collecting b", 0.1),
        ticker.tell("  Downloading b.whl (1 kB)", 0.2),
        ticker.tell("Collecting c", 0.3),
        ticker.tell("Collecting d", 0.9),
        ticker.tell("WARNING: nothing to see", 5.0),
    ]
    assert told == ["Collecting a", None, "Downloading b.whl (1 kB)", "Collecting c", "Collecting d", None]


def test_a_failure_has_the_last_lines() -> None:
    transcript = Transcript()
    for line in PIP:
        transcript.add(line)
    error = failure(transcript, "the Python environment can't be made")
    assert isinstance(error, FormationFailed)
    assert (error.code, error.stage) == ("InstallFailed", "installing")
    assert error.message.startswith("The Python environment can't be made: Could not find a version")
    assert error.details["log_tail"] == PIP


@pytest.mark.parametrize(
    "line",
    [
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
        "error: failed to write: No space left on device (os error 28)",
    ],
)
def test_a_full_disk_is_told_as_such(line: str) -> None:
    transcript = Transcript()
    transcript.add(line)
    error = failure(transcript, "it can't be made")
    assert isinstance(error, StorageError)
    assert (error.code, error.status) == ("DiskFull", 507)
