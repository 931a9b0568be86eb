"""`muxi-server help`: the commands, or what one of them takes."""

from __future__ import annotations

import sys

import click

from muxi.cli.banner import print_banner
from muxi.cli.root import PROGRAM, SETTINGS, root


@click.command("help")
@click.argument("names", metavar="[COMMAND]...", nargs=-1)
def command(names: tuple[str, ...]) -> None:
    """Show the commands, or the help of one."""
    found: click.Command = root
    context = click.Context(root, info_name=PROGRAM, **SETTINGS)
    for name in names:
        below = found.get_command(context, name) if isinstance(found, click.Group) else None
        if below is None:
            raise click.UsageError(
                f"Unknown command: {' '.join(names)}.", click.Context(root, info_name=PROGRAM)
            )
        context = click.Context(below, info_name=name, parent=context)
        found = below
    if not names:
        print_banner(sys.stdout)
    click.echo(found.get_help(context))
