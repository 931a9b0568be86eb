"""`muxi-server status`: how the running server does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from muxi.cli import options
from muxi.cli.output import as_text, duration_text, print_facts, print_json, size_text
from muxi.cli.settings import connect

if TYPE_CHECKING:
    from collections.abc import Mapping

BRIEF_SECONDS: Final = 10.0
"""How long `--brief` waits for an answer: who is checked so should have one at once."""
MOST_NAMED: Final = 20
"""How many formations are named; `formation list` has them all."""


@click.command("status")
@options.as_json
@click.option("--brief", is_flag=True, help="Only whether it answers; this leaves no audit line.")
def command(as_json: bool, brief: bool) -> None:
    """Show the running server's state: version, uptime, formations, ports and runtimes."""
    with connect(BRIEF_SECONDS) if brief else connect() as client:
        health = client.get("/health")
        if brief:
            show_health(health, as_json)
            return
        status = client.get("/rpc/server/status")
        listed = client.get("/rpc/formations").get("formations")
    if as_json:
        print_json({"url": client.base_url, "health": health, **status, "runs_on": choices(listed)})
    else:
        print_facts(sections(client.base_url, health, status, listed))


def show_health(health: Mapping[str, object], as_json: bool) -> None:
    """Print what the server says of itself to everybody."""
    if as_json:
        print_json(health)
    else:
        click.echo(as_text(health.get("status")))


def sections(
    url: str, health: Mapping[str, object], status: Mapping[str, object], listed: object = None
) -> dict[str, list[tuple[str, str]]]:
    """Arrange the answers for a person; an older server tells of less. `listed` are its formations."""
    server, formations = group(status, "server"), group(status, "formations")
    ports = group(status, "ports") or group(status, "port_pool")
    arranged = {
        "Server": [
            ("Status", as_text(health.get("status"))),
            ("URL", url),
            ("ID", as_text(server.get("server_id") or server.get("id"))),
            ("Version", as_text(server.get("version"))),
            ("Uptime", duration_text(server.get("uptime"))),
            ("Memory", size_text(server.get("memory"))),
            *_upgraded(server),
        ],
        "Formations": facts(formations),
        **_if_any("Runtimes", runtimes(status.get("runtimes"))),
        **_if_any("Runs on", _named(choices(listed))),
        **_if_any("Code runner", facts(group(status, "rce"))),
        "Ports": facts(ports),
    }
    for title, name in (("Limits held by", "limits"), ("Sandbox", "sandbox")):
        if told := facts(group(status, name)):
            arranged[title] = told
    return arranged


def _if_any(title: str, said: list[tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
    return {title: said} if said else {}


def runtimes(found: object) -> list[tuple[str, str]]:
    """Say of each runtime which version it is and where, or why it can't be used."""
    known = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return [(as_text(one.get("name")), _runtime(one)) for one in known]


def _runtime(one: Mapping[str, object]) -> str:
    preferred = " (preferred)" if one.get("preferred") is True else ""
    if one.get("available") is True:
        what = " ".join(filter(None, (as_text(one.get("version")), as_text(one.get("where")))))
        return f"{what or 'present'}{preferred}"
    why = "; ".join(filter(None, (as_text(one.get("problem")), as_text(one.get("cure")))))
    return f"not usable{preferred}: {why}"


def choices(listed: object) -> dict[str, str]:
    """Say by id what each formation was found to run on, and why."""
    items = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return {as_text(one.get("id")): _choice(group(one, "runtime")) for one in items if group(one, "runtime")}


def _choice(pin: Mapping[str, object]) -> str:
    what = " ".join(filter(None, (as_text(pin.get("name")), as_text(pin.get("version")))))
    why = as_text(pin.get("reason"))
    return f"{what} ({why})" if why else what


def _named(chosen: Mapping[str, str]) -> list[tuple[str, str]]:
    left = len(chosen) - MOST_NAMED
    more = [("...", f"{left} more: muxi-server formation list")] if left > 0 else []
    return [*list(chosen.items())[:MOST_NAMED], *more]


def facts(values: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return a group of an answer as names and values; what is not said is left out."""
    named = [(key.capitalize().replace("_", " "), as_text(value)) for key, value in values.items()]
    return [(name, value) for name, value in named if value]


def _upgraded(server: Mapping[str, object]) -> list[tuple[str, str]]:
    """Say since when the service runs, if this program is not its first one."""
    generation = server.get("generation")
    if not isinstance(generation, int) or generation < 2:
        return []
    return [("Upgrades", f"{generation - 1} since {as_text(server.get('first_started_at'))}")]


def group(value: Mapping[str, object], key: str) -> Mapping[str, object]:
    """Return a group of an answer; an empty one when it is not there."""
    found = value.get(key)
    return found if isinstance(found, dict) else {}
