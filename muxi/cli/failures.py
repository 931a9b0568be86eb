"""How a failure is told to the person at the terminal: what happened, why, and what to do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from muxi.errors import ConfigError, MuxiError

if TYPE_CHECKING:
    from collections.abc import Iterator

FAILURE = 1
USAGE = 2
INTERRUPTED = 130


def exit_code(error: MuxiError) -> int:
    """Return 2 for a wrong configuration, 1 for anything else."""
    return USAGE if isinstance(error, ConfigError) else FAILURE


def describe(error: MuxiError) -> Iterator[str]:
    """Yield the lines to show: `Error: …`, what is known beyond that, and the cure on its own line."""
    yield f"Error: {error.message}"
    for problem in _texts(error.details.get("problems")):
        yield f"  {problem}"
    tail = list(_log_tail(error.details.get("log_tail")))
    if tail:
        yield "The last lines of its log:"
        yield from (f"  | {line}" for line in tail)
    if error.cure:
        yield f"What to do: {error.cure}"


def report(error: MuxiError, stream: TextIO | None = None) -> None:
    """Write an error to `stream`, by default standard error."""
    for line in describe(error):
        print(line, file=stream or sys.stderr)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, list | tuple):
        yield from (str(item) for item in value)


def _log_tail(value: object) -> Iterator[str]:
    """Yield the lines of a log tail, which is a list, or lists by the stream's name."""
    if isinstance(value, dict):
        for name, lines in value.items():
            yield from (f"{name}: {line}" for line in _texts(lines))
    else:
        yield from _texts(value)
