"""Arguments and options that several commands share."""

from __future__ import annotations

import click

#: Those of `muxi.formation.manifest`, which is slow to load.
STRATEGIES = ("blue-green", "recreate")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
formation_id = click.argument("formation_id", metavar="ID")
strategy = click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    help="Both releases side by side for a moment, or one after the other. Default: as the manifest says.",
)


def given(**values: str | None) -> dict[str, str]:
    """Return the values that were given, for a query."""
    return {name: value for name, value in values.items() if value is not None}
