"""`muxi-server formation operation|cancel ID`: what is being done to a formation, and ending it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from muxi.cli import options
from muxi.cli.client import formation_path
from muxi.cli.output import as_text, clean, print_json
from muxi.cli.progress import display, follow
from muxi.cli.settings import connect

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.command("operation")
@options.formation_id
@click.option("--follow", "-f", "live", is_flag=True, help="Show how it goes on, until its end.")
@click.option("--id", "operation_id", metavar="OPERATION", help="One of the past, by its id.")
@options.as_json
def operation(formation_id: str, live: bool, operation_id: str | None, as_json: bool) -> None:
    """Show what is being done to formation ID, or was done last."""
    params = options.given(id=operation_id)
    path = formation_path(formation_id, "operation")
    with connect() as client:
        if live:
            with client.stream("GET", path, None, **params) as events, display(quiet=as_json) as show:
                result = follow(events, show)
            print_json(result) if as_json else click.echo(f"Done: {as_text(result.get('message'))}")
            return
        found = client.get(path, **params)
    if as_json:
        print_json(found)
        return
    for line in lines(found):
        click.echo(line)


@click.command("cancel")
@options.formation_id
@options.as_json
def cancel(formation_id: str, as_json: bool) -> None:
    """Cancel the deploy, update or rollback of formation ID; what was before stays.

    It can be cancelled up to the switch to the new release.
    """
    with connect() as client:
        result = client.call("POST", formation_path(formation_id, "cancel"))
    if as_json:
        print_json(result)
    else:
        click.echo(
            f"{clean(as_text(result.get('message')))}. {formation_id} is {as_text(result.get('status'))}."
        )


def lines(found: Mapping[str, object]) -> list[str]:
    """Return an operation as lines for people."""
    told = [
        f"{as_text(found.get('kind'))}: {as_text(found.get('state'))}",
        f"  Id: {as_text(found.get('id'))}",
        f"  Stage: {as_text(found.get('stage'))}",
        f"  Started: {as_text(found.get('started_at'))}",
    ]
    if found.get("ended_at"):
        told.append(f"  Ended: {as_text(found.get('ended_at'))}")
    progress = found.get("progress")
    if found.get("state") == "running":
        percent = f" ({progress} %)" if progress is not None else ""
        told.append(f"  Now: {clean(as_text(found.get('message')))}{percent}")
    drain, error = found.get("drain"), found.get("error")
    if isinstance(drain, dict):
        told.append(f"  Waiting for {drain.get('in_flight')} requests, {drain.get('seconds_left')} s at most")
    if isinstance(error, dict):
        told.append(f"  Error: {clean(as_text(error.get('message')))}")
        if error.get("cure"):
            told.append(f"  What to do: {clean(as_text(error.get('cure')))}")
    return told
