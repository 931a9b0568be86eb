"""The argument list before click sees it: what `muxi-server` has always understood beyond options.

No argument means `start`, and so does an option in the first place that is neither help nor
version. `--log-level LEVEL` (or `--log-level=LEVEL`) may stand anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVELS = ("debug", "info", "warn", "warning", "error")
OPTION = "--log-level"
SYNONYMS = {"-h": "help", "--help": "help", "-V": "version", "--version": "version"}


@dataclass(frozen=True, slots=True)
class Invocation:
    """What holds for whichever command is called."""

    log_level: str | None = None


def prepare(argv: Sequence[str]) -> tuple[list[str], Invocation]:
    """Take `--log-level` out and put the command in front. Raises click.UsageError."""
    arguments, level = _take_level(argv)
    first = arguments[0] if arguments else "-"
    if first in SYNONYMS:
        arguments[0] = SYNONYMS[first]
    elif first.startswith("-"):
        arguments.insert(0, "start")
    return arguments, Invocation(level)


def _take_level(argv: Sequence[str]) -> tuple[list[str], str | None]:
    rest: list[str] = []
    level: str | None = None
    items = iter(argv)
    for item in items:
        if item == "--":
            return [*rest, item, *items], level
        if item == OPTION:
            level = _checked(next(items, ""))
        elif item.startswith(f"{OPTION}="):
            level = _checked(item.partition("=")[2])
        else:
            rest.append(item)
    return rest, level


def _checked(level: str) -> str:
    if level.lower() not in LEVELS:
        raise click.UsageError(f"{OPTION}: '{level}' is not one of {', '.join(LEVELS)}")
    return level.lower()
