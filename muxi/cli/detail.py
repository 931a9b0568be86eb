"""`muxi-server formation get ID`: all that is known of one formation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from muxi.cli import options
from muxi.cli.client import formation_path
from muxi.cli.listing import semantic_version
from muxi.cli.output import as_text, cpu_text, duration_text, print_facts, print_json, size_text
from muxi.cli.settings import connect
from muxi.cli.status import group

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOWN = (
    ("Name", "name"),
    ("Status", "status"),
    ("Reason", "reason"),
    ("Healthy", "healthy"),
    ("Port", "port"),
    ("Restarts", "restart_count"),
    ("Deployed", "deployed_at"),
    ("Updated", "updated_at"),
    ("Next try", "next_try_at"),
    ("Crash loop", "crash_loop"),
    ("Adopted", "adopted"),
    ("Depends on", "depends_on"),
)

UNLESS_SO = frozenset({"crash_loop", "adopted", "depends_on"})
"""What is shown only when there is something of it."""


@click.command("get")
@options.formation_id
@options.as_json
def command(formation_id: str, as_json: bool) -> None:
    """Show formation ID: its state and why, its process, its versions."""
    with connect() as client:
        answer = client.get(formation_path(formation_id))
    if as_json:
        print_json(answer)
    else:
        print_facts({formation_id: facts(answer)})
        click.echo(f"\n  {client.base_url}/api/{formation_id}/")


def facts(answer: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return what is known as name and value; what is not known is left out."""
    known = [
        (name, as_text(answer.get(key))) for name, key in SHOWN if key not in UNLESS_SO or answer.get(key)
    ]
    known.append(("PID", as_text(answer.get("pid") or None)))
    known.append(("Version", semantic_version(answer)))
    known.append(("Runtime", runtime_text(group(answer, "runtime"))))
    known.append(("Uptime", duration_text(answer.get("uptime"))))
    known += usage_facts(group(answer, "usage"))
    known.append(("Last exit", last_exit(answer.get("last_exit"))))
    return [(name, value) for name, value in known if value]


def runtime_text(runtime: Mapping[str, object]) -> str:
    """Say what it runs on, and why."""
    what = " ".join(filter(None, (as_text(runtime.get("name")), as_text(runtime.get("version")))))
    reason = as_text(runtime.get("reason"))
    return f"{what} ({reason})" if what and reason else what


def usage_facts(usage: Mapping[str, object]) -> list[tuple[str, str]]:
    """Say what its processes use, as it was last measured."""
    return [
        ("Memory", size_text(usage.get("memory"))),
        ("CPU time", cpu_text(usage.get("cpu_seconds"))),
        ("Processes", as_text(usage.get("processes"))),
        ("Threads", as_text(usage.get("threads"))),
        ("Open files", as_text(usage.get("open_files"))),
    ]


def last_exit(value: object) -> str:
    """Say how its process last ended; the server tells in words or in parts."""
    if isinstance(value, dict):
        return as_text(value.get("description") or value.get("reason")) or ", ".join(
            f"{key} {part}" for key, part in value.items() if part is not None
        )
    return as_text(value)
