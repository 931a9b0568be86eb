"""The entry point: runs the command that the arguments name, and turns what goes wrong into words.

Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted. A traceback is shown
only with MUXI_DEBUG=1 in the environment.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from muxi.cli.arguments import prepare
from muxi.cli.failures import FAILURE, INTERRUPTED, USAGE, exit_code, report
from muxi.cli.root import PROGRAM, root
from muxi.errors import InternalError, MuxiError, OperatorError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main() -> NoReturn:
    """Run as a program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a narrow locale garbles a character, not the command
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit status."""
    try:
        return _call(argv)
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        return _refused(error)
    except Exception as error:
        if os.environ.get("MUXI_DEBUG") == "1":
            raise
        explained = _explained(error)
        report(explained)
        return exit_code(explained)


def _call(argv: Sequence[str]) -> int:
    arguments, invocation = prepare(argv)
    result = root.main(arguments, prog_name=PROGRAM, standalone_mode=False, obj=invocation)
    return result if isinstance(result, int) else 0


def _refused(error: click.ClickException) -> int:
    """Say what was wrong with the arguments."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        print(error.format_message(), file=sys.stderr)
        return USAGE
    print(f"Error: {error.format_message()}", file=sys.stderr)
    if not isinstance(error, click.UsageError):
        return FAILURE
    where = error.ctx.command_path if error.ctx is not None else PROGRAM
    print(f"What to do: see {_help_for(where)}", file=sys.stderr)
    return USAGE


def _help_for(command_path: str) -> str:
    _, _, names = command_path.partition(" ")
    return f"{PROGRAM} help {names}".rstrip()


def _explained(error: Exception) -> MuxiError:
    """Return an error that can be shown; one that nobody foresaw is a defect of ours."""
    if isinstance(error, MuxiError):
        return error
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return OperatorError(f"{place}{error.strerror or error}")
    return InternalError(
        f"muxi-server failed where it should not: {type(error).__name__}.",
        cure="Set MUXI_DEBUG=1 to see where, and report it: https://muxi.org/support",
    )
