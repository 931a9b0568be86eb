"""`muxi-server formation start|stop|restart|delete ID`."""

from __future__ import annotations

import sys

import click

from muxi.cli import options
from muxi.cli.client import formation_path
from muxi.cli.output import print_json
from muxi.cli.progress import display, follow
from muxi.cli.settings import connect


@click.command("start")
@options.formation_id
@options.as_json
def start(formation_id: str, as_json: bool) -> None:
    """Start the stopped formation ID and wait until it is healthy."""
    _streamed(formation_id, "start", "started", as_json)


@click.command("restart")
@options.formation_id
@options.as_json
def restart(formation_id: str, as_json: bool) -> None:
    """Stop formation ID, start it again and wait until it is healthy."""
    _streamed(formation_id, "restart", "restarted", as_json)


@click.command("stop")
@options.formation_id
@options.as_json
def stop(formation_id: str, as_json: bool) -> None:
    """Stop formation ID. It stays deployed, and stopped when the server starts anew."""
    _plain("POST", formation_path(formation_id, "stop"), f"{formation_id} is stopped.", as_json)


@click.command("delete")
@options.formation_id
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.as_json
def delete(formation_id: str, yes: bool, as_json: bool) -> None:
    """Stop formation ID and remove it with its releases and its data."""
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete {formation_id} with all its data?", abort=True)
    _plain("DELETE", formation_path(formation_id), f"{formation_id} is deleted.", as_json)


def _streamed(formation_id: str, action: str, done: str, as_json: bool) -> None:
    with (
        connect() as client,
        client.stream("POST", formation_path(formation_id, action)) as events,
        display(quiet=as_json) as show,
    ):
        result = follow(events, show)
    _finish(result, f"{formation_id} is {done}.", as_json)


def _plain(method: str, path: str, done: str, as_json: bool) -> None:
    with connect() as client:
        result = client.call(method, path)
    _finish(result, done, as_json)


def _finish(result: dict[str, object], done: str, as_json: bool) -> None:
    if as_json:
        print_json(result)
    else:
        click.echo(done)
