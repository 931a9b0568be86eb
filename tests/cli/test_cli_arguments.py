from __future__ import annotations

import click
import pytest

from muxi.cli.arguments import prepare


@pytest.mark.parametrize(
    ("argv", "arguments", "level"),
    [
        ([], ["start"], None),
        (["serve"], ["serve"], None),
        (["--port", "80"], ["start", "--port", "80"], None),
        (["--log-level", "debug"], ["start"], "debug"),
        (["--log-level=WARN"], ["start"], "warn"),
        (["start", "--log-level", "error", "--port", "0"], ["start", "--port", "0"], "error"),
        (["status", "--log-level=info"], ["status"], "info"),
        (["--log-level", "debug", "version"], ["version"], "debug"),
        (["--version"], ["version"], None),
        (["-V"], ["version"], None),
        (["--help"], ["help"], None),
        (["-h"], ["help"], None),
        (["start", "--help"], ["start", "--help"], None),
        (["formation", "logs", "--", "--log-level"], ["formation", "logs", "--", "--log-level"], None),
    ],
)
def test_prepare(argv: list[str], arguments: list[str], level: str | None) -> None:
    prepared, invocation = prepare(argv)
    assert prepared == arguments
    assert invocation.log_level == level


@pytest.mark.parametrize("argv", [["--log-level"], ["--log-level", "loud"], ["start", "--log-level="]])
def test_a_level_that_is_none_is_a_usage_error(argv: list[str]) -> None:
    with pytest.raises(click.UsageError, match="debug, info, warn"):
        prepare(argv)
