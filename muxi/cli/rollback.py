"""`muxi-server formation rollback ID [RELEASE]`: an earlier release takes over again."""

from __future__ import annotations

import click

from muxi.cli import options
from muxi.cli.client import formation_path
from muxi.cli.progress import display, follow
from muxi.cli.settings import connect
from muxi.cli.update import take_back, tell


@click.command("rollback")
@options.formation_id
@click.argument("release", required=False)
@options.strategy
@options.as_json
def command(formation_id: str, release: str | None, strategy: str | None, as_json: bool) -> None:
    """Go back to the release before, or to RELEASE: its number, or its version.

    The data stay as they are. The same again goes forward. `formation releases ID` lists them.
    """
    number = release if release is not None and release.isdecimal() else None
    version = release if number is None else None
    params = options.given(release=number, version=version, strategy=strategy)
    with connect() as client:
        try:
            with (
                client.stream("POST", formation_path(formation_id, "rollback"), None, **params) as events,
                display(quiet=as_json) as show,
            ):
                result = follow(events, show)
        except KeyboardInterrupt:
            take_back(client, formation_id, "rollback")
            raise
    tell(result, f"Rolled back {formation_id}", as_json=as_json)
