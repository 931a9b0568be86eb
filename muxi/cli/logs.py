"""`muxi-server formation logs ID`: what a formation has printed, and with -f what it prints."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from muxi.cli import options
from muxi.cli.client import formation_path
from muxi.cli.output import clean, print_json
from muxi.cli.settings import connect
from muxi.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.cli.client import ServerClient


@click.command("logs")
@options.formation_id
@click.option("-f", "--follow", is_flag=True, help="Go on showing lines as they come, until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(1, 10000), default=100, show_default=True)
@click.option("--stream", type=click.Choice(["all", "stdout", "stderr"]), default="all", show_default=True)
@click.option("--dev", is_flag=True, help="Of the directory that runs as ID, not of the deployed formation.")
@options.as_json
def command(formation_id: str, follow: bool, lines: int, *, stream: str, dev: bool, as_json: bool) -> None:
    """Show the last lines that formation ID has printed: each to the stream it came from."""
    path = formation_path(formation_id, "logs")
    query = {"lines": str(lines), "stream": stream, **({"draft": "true"} if dev else {})}
    with connect() as client:
        if follow:
            follow_lines(client, path, query, as_json)
            return
        answer = client.get(path, **query)
    if as_json:
        print_json(answer)
        return
    found = answer.get("logs")
    for name, written in found.items() if isinstance(found, dict) else ():
        for line in written or ():
            show(name, str(line))


def follow_lines(client: ServerClient, path: str, query: Mapping[str, str], as_json: bool) -> None:
    """Print log events until the person has seen enough, or nothing more comes."""
    with client.stream("GET", path, None, **query, follow="true") as events:
        for event in events:
            if event.name == "end":
                print(event.text("message"), file=sys.stderr)
                return
            if event.name != "log":
                continue
            if as_json:
                print(json.dumps(event.data, ensure_ascii=False), flush=True)
            else:
                show(event.text("stream"), event.text("line"))
    raise OperatorError(
        "The server ended the log stream.",
        cure="If it is stopping or restarting, call this again when it is back.",
    )


def show(stream: str, line: str) -> None:
    """Print a line where it came from; on a terminal only what can't steer it."""
    out = sys.stderr if stream == "stderr" else sys.stdout
    print(clean(line.replace("\t", "    ")) if out.isatty() else line, file=out, flush=True)
