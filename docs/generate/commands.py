"""The reference of the command line, made of the commands themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from docs.generate.markdown import code, table
from muxi.cli.failures import FAILURE, INTERRUPTED, USAGE
from muxi.cli.lazy import LazyGroup
from muxi.cli.root import PROGRAM, SETTINGS, root

if TYPE_CHECKING:
    from collections.abc import Iterator

STATUSES = (
    ("0", "done; `start`: ended in good order"),
    (str(FAILURE), "it failed, or the answer is no: the command says which"),
    (str(USAGE), "wrong arguments, or a wrong configuration"),
    (str(INTERRUPTED), "interrupted by Ctrl-C"),
    ("128 + n", "`start`: ended at once by a second signal n"),
)


def commands() -> Iterator[str]:
    """Yield the lines of the reference: exit status, a list of all commands, then each of them."""
    yield from ("", "## Exit status")
    yield from table(("Status", "Meaning"), STATUSES)
    found = list(walk(root, click.Context(root, info_name=PROGRAM, **SETTINGS)))
    yield from ("", "## Commands")
    yield from table(("Command", ""), ((_link(context), _first(command)) for command, context in found))
    for command, context in found:
        yield from _described(command, context)


def walk(group: click.Group, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Yield every command that is not hidden, depth first, with the context it is called in."""
    assert isinstance(group, LazyGroup)
    for name, entry in group.lazy.items():
        command = group.get_command(context, name)
        if entry.hidden or command is None:
            continue
        below = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from walk(command, below)
        else:
            yield command, below


def _link(context: click.Context) -> str:
    return f"[`{context.command_path}`](#{context.command_path.replace(' ', '-')})"


def _first(command: click.Command) -> str:
    return _paragraphs(command)[0]


def _paragraphs(command: click.Command) -> list[str]:
    text = (command.help or "").replace("\b\n", "")
    return [" ".join(part.split()) for part in text.split("\n\n")]


def _described(command: click.Command, context: click.Context) -> Iterator[str]:
    yield from ("", f"### {context.command_path}")
    for paragraph in _paragraphs(command):
        yield from ("", paragraph)
    pieces = " ".join(command.collect_usage_pieces(context))
    yield from ("", "```text", f"{context.command_path} {pieces}".rstrip(), "```")
    yield from table(("Option", ""), _options(command, context))


def _options(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    for option in command.get_params(context):
        record = option.get_help_record(context)
        if isinstance(option, click.Option) and record is not None and "--help" not in option.opts:
            name, about = record
            yield code(name.replace("INTEGER RANGE", "NUMBER")), " ".join(about.split())
