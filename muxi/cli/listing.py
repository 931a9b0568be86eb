"""`muxi-server formation list`: a line a formation, and one a directory that runs as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from muxi.cli import options
from muxi.cli.output import as_text, cpu_text, duration_text, print_json, print_table, size_text
from muxi.cli.settings import connect
from muxi.cli.status import group

if TYPE_CHECKING:
    from collections.abc import Mapping

COLUMNS = (
    "id", "status", "version", "port", "pid", "uptime", "restarts", "memory", "cpu", "procs", "runtime",
)  # fmt: skip


@click.command("list")
@click.option("--status", help="Only those in this state: running, stopped, crashed ...")
@options.as_json
def command(status: str | None, as_json: bool) -> None:
    """List the formations of the server; the version of a directory that runs as it is reads `dev`."""
    with connect() as client:
        answer = client.get("/rpc/formations", **({"status": status} if status else {}))
    if as_json:
        print_json(answer)
        return
    rows = [row(item) for item in items(answer, "formations")]
    rows += [row({**item, "version": "dev"}) for item in items(answer, "dev_runs")]
    if rows:
        print_table(COLUMNS, sorted(rows))
    else:
        click.echo("No formations. Deploy one with: muxi-server formation deploy DIRECTORY", err=True)


def items(answer: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    """Return a list of an answer; an older server does not have all of them."""
    found = answer.get(name)
    return found if isinstance(found, list) else []


def row(item: Mapping[str, object]) -> tuple[str, ...]:
    """Return a formation's cells."""
    usage = group(item, "usage")
    return (
        as_text(item.get("id")),
        as_text(item.get("status")),
        semantic_version(item),
        as_text(item.get("port")),
        as_text(item.get("pid") or None),
        duration_text(item.get("uptime")),
        as_text(item.get("restart_count")),
        size_text(usage.get("memory")),
        cpu_text(usage.get("cpu_seconds")),
        as_text(usage.get("processes")),
        as_text(group(item, "runtime").get("name")),
    )


def semantic_version(item: Mapping[str, object]) -> str:
    """Return the version of a formation, which is an object in list and get, a text elsewhere."""
    version = item.get("version")
    return as_text(version.get("semantic") if isinstance(version, dict) else version)
