"""`muxi-server telemetry show|enable|disable`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio

from muxi.cli import options
from muxi.cli.output import print_json
from muxi.cli.settings import connect, load_settings, paths
from muxi.errors import MuxiError
from muxi.telemetry.machine import facts
from muxi.telemetry.preferences import preferences_file, write_preference
from muxi.telemetry.reporter import Reporter
from muxi.telemetry.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.command("show")
@options.as_json
def show(as_json: bool) -> None:
    """Show whether the server reports, and the whole of its next report. Sends nothing."""
    standing, running = ask_server(), True
    if standing is None:
        standing, running = trio.run(_reporter().standing).as_dict(), False
    if as_json:
        print_json({**standing, "server_running": running})
        return
    click.echo(f"Telemetry: {'on' if standing.get('enabled') else 'off'}")
    if standing.get("reason"):
        click.echo(f"Because:   {standing['reason']}")
    click.echo(f"Goes to:   {standing.get('url')}, once an hour and when the server ends")
    if not running:
        click.echo("No server answers here, so nothing is counted yet.")
    would = "The next report is" if standing.get("enabled") else "Were it on, the next report would be"
    click.echo(f"{would}:\n")
    click.echo(json.dumps(standing.get("report"), indent=2))


@click.command("enable")
def enable() -> None:
    """Let MUXI programs of this user report anonymous counts."""
    _choose("true")
    reason = trio.run(_reporter().standing).reason
    click.echo(
        f"It is still off: {reason}." if reason else "Telemetry is on. See: muxi-server telemetry show"
    )


@click.command("disable")
def disable() -> None:
    """Let no MUXI program of this user report anything. A running server goes by it, too."""
    _choose("false")
    click.echo("Telemetry is off.")


def ask_server() -> Mapping[str, object] | None:
    """Return what the running server says; None when none answers, or it is an older one."""
    try:
        with connect() as client:
            return client.get("/rpc/server/telemetry")
    except MuxiError:
        return None


def _choose(value: str) -> None:
    file = preferences_file(Path.home())
    write_preference(file, "telemetry", value)
    click.echo(f"{file}: telemetry: {value}")


def _reporter() -> Reporter:
    configured = load_settings(paths(), require_key=False).config.telemetry
    return Reporter(Totals(), facts, lambda: configured, os.environ)
