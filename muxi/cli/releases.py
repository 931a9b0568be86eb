"""`muxi-server formation releases ID`: a line a release that is kept."""

from __future__ import annotations

import click

from muxi.cli import options
from muxi.cli.client import formation_path
from muxi.cli.output import as_text, print_json, print_table
from muxi.cli.settings import connect

COLUMNS = ("release", "version", "current", "deployed")


@click.command("releases")
@options.formation_id
@options.as_json
def command(formation_id: str, as_json: bool) -> None:
    """List the releases of formation ID that are kept, the current one first."""
    with connect() as client:
        answer = client.get(formation_path(formation_id, "releases"))
    if as_json:
        print_json(answer)
        return
    releases = answer.get("releases")
    names = ("number", "version", "current", "deployed_at")
    print_table(
        COLUMNS,
        [
            tuple(as_text(item.get(name)) for name in names)
            for item in (releases if isinstance(releases, list) else ())
            if isinstance(item, dict)
        ],
    )
