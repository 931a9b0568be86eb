"""`muxi-server config show` and `config validate`."""

from __future__ import annotations

import sys

import click

from muxi.cli import options
from muxi.cli.failures import USAGE
from muxi.cli.output import print_facts, print_json
from muxi.cli.settings import load_settings, paths
from muxi.config.show import as_dict, sections
from muxi.errors import ConfigError


@click.command("show")
@options.as_json
def show(as_json: bool) -> None:
    """Show the settings in force, from the file, the environment and the defaults; secrets masked."""
    found = paths()
    config, notes = load_settings(found, require_key=False)
    exists = found.config_file.exists()
    if as_json:
        print_json({**as_dict(config), "config_file_exists": exists})
        return
    print_facts({section.title: section.rows for section in sections(config)})
    missing = "" if exists else " (not there; these are the defaults. Make it with: muxi-server init)"
    click.echo(f"\nConfiguration: {found.config_file}{missing}")
    print_notes(notes)


@click.command("validate")
@options.as_json
def validate(as_json: bool) -> int:
    """Check the configuration and list every problem. Exit status 2 when there is one."""
    found = paths()
    try:
        _, notes = load_settings(found)
    except ConfigError as error:
        if not as_json:
            raise
        print_json({"valid": False, "config_file": str(found.config_file), "problems": list(error.problems)})
        return USAGE
    if as_json:
        print_json({"valid": True, "config_file": str(found.config_file), "notes": list(notes)})
        return 0
    click.echo(f"{found.config_file} is valid.")
    print_notes(notes)
    return 0


def print_notes(notes: tuple[str, ...]) -> None:
    """Say on standard error what an operator should know though it is no error."""
    for note in notes:
        print(f"Note: {note}", file=sys.stderr)
