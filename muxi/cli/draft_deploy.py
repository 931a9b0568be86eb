"""`muxi-server formation draft deploy ID`: deploys a draft, showing how it goes."""

from __future__ import annotations

import click

from muxi.cli import options
from muxi.cli.client import json_body
from muxi.cli.draft import draft_path
from muxi.cli.output import print_json
from muxi.cli.progress import display, follow
from muxi.cli.settings import connect


@click.command("deploy")
@options.formation_id
@click.option("--require-base", is_flag=True, help="Only if what is deployed is still what it was made of.")
@options.as_json
def command(formation_id: str, require_base: bool, as_json: bool) -> None:
    """Deploy the draft of formation ID. A draft that can't be deployed stays as it is."""
    body = json_body({"action": "deploy", "require_base": require_base})
    with (
        connect() as client,
        client.stream("POST", draft_path(formation_id), body) as events,
        display(quiet=as_json) as show,
    ):
        result = follow(events, show)
    if as_json:
        print_json(result)
    else:
        click.echo(f"Deployed {formation_id}: {result.get('status', 'running')}")
