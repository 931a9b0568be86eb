from __future__ import annotations

import io

from muxi.cli.failures import describe, exit_code, report
from muxi.errors import ConfigError, FormationFailed, NotFound, OperatorError


def test_what_why_and_cure_each_have_a_line() -> None:
    error = FormationFailed("It died.", cure="Mend it.", details={"log_tail": ["one", "two"]})
    assert list(describe(error)) == [
        "Error: It died.",
        "The last lines of its log:",
        "  | one",
        "  | two",
        "What to do: Mend it.",
    ]


def test_a_tail_by_stream_names_the_stream() -> None:
    error = FormationFailed("It died.", details={"log_tail": {"stdout": ["a"], "stderr": ["b"]}})
    assert list(describe(error))[2:] == ["  | stdout: a", "  | stderr: b"]


def test_every_problem_of_a_configuration_is_listed() -> None:
    error = ConfigError("Two problems", ("config.yaml:1: a", "config.yaml:2: b"))
    assert list(describe(error)) == ["Error: Two problems", "  config.yaml:1: a", "  config.yaml:2: b"]


def test_details_of_an_odd_shape_are_passed_over() -> None:
    assert list(describe(NotFound("no", details={"log_tail": 5, "problems": "text"}))) == ["Error: no"]


def test_exit_codes() -> None:
    assert exit_code(ConfigError("x")) == 2
    assert exit_code(OperatorError("x")) == 1
    assert exit_code(NotFound("x")) == 1


def test_report_writes_lines() -> None:
    out = io.StringIO()
    report(NotFound("gone"), out)
    assert out.getvalue() == "Error: gone\n"
