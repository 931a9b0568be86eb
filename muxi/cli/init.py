"""`muxi-server init`: makes the configuration and its credentials, or changes what there is."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

import muxi
from muxi.auth.credentials import generate, mask_id
from muxi.cli import options, service
from muxi.cli.banner import print_welcome
from muxi.cli.create import Outcome, create, outcome, print_credentials
from muxi.cli.failures import FAILURE, report
from muxi.cli.output import print_json
from muxi.cli.profile import keep_profile
from muxi.cli.questions import ask, ask_port
from muxi.cli.settings import load_settings, paths
from muxi.config.edit import edit_config
from muxi.config.load import load
from muxi.config.model import ServerConfig
from muxi.config.save import name_of, new_server_id, write_config
from muxi.errors import ConfigError, MuxiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muxi.cli.profile import Change
    from muxi.config.model import Config, Paths

PROVISIONS = ("runtime", "rce", "lean", "multilingual")
"""What `--setup` may name: those of `muxi.cli.provider`, which is slow to load."""

NEXT_STEPS = """\
Next:
  muxi-server start                          run the server
  muxi-server formation deploy DIRECTORY     deploy an agent, from another terminal
  muxi-server config show                    see all settings\
"""
RESET_CURE = "Correct the file, or make a new one with: muxi-server init --reset (the old one is kept)"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for; None: not said."""

    port: int | None
    host: str | None
    name: str | None


@click.command("init")
@click.option(
    "--yes",
    "--non-interactive",
    "yes",
    is_flag=True,
    help="Ask nothing and fetch nothing; take the defaults for what is not given.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="The public port.")
@click.option("--host", help="The address to listen on.")
@click.option("--name", help="The server's name, part of its id.")
@click.option("--reset", is_flag=True, help="Make a new configuration with new credentials.")
@click.option(
    "--setup",
    "provisions",
    multiple=True,
    type=click.Choice(("all", *PROVISIONS)),
    help="Fetch this now, without a question: what formations need. May be given several times.",
)
@click.option("--no-setup", is_flag=True, help="Do not offer to fetch anything.")
@options.as_json
def command(
    *,
    yes: bool,
    port: int | None,
    host: str | None,
    name: str | None,
    reset: bool,
    provisions: tuple[str, ...],
    no_setup: bool,
    as_json: bool,
) -> int:
    """Make the configuration, with credentials that are shown once.

    One that exists is kept, but for what is given here; --reset replaces it. On a terminal it offers
    to fetch what formations need; without one nothing is fetched but what --setup names.
    """
    found, wanted = paths(), Wanted(port, host, name)
    named = PROVISIONS if "all" in provisions else tuple(dict.fromkeys(provisions))
    if as_json:
        made = without_questions(found, wanted, reset)
        profile = profile_of(found)
        failed = provide(found, named, quiet=True)
        facts = {**made.as_dict(), **({} if profile is None else {"cli_profile": profile.done})}
        print_json({**facts, "setup_failed": failed} if named else facts)
        return FAILURE if failed else 0
    print_welcome(sys.stdout, muxi.__version__)
    made = without_questions(found, wanted, reset) if yes else with_questions(found, wanted, reset)
    click.echo()
    print_credentials(made, sys.stdout)
    profile = profile_of(found)
    if profile is not None:
        click.echo(f"Profile of the muxi command line: {profile}\n")
    failed = provide(found, named)
    if not (yes or named or no_setup):
        offer_provisions(found)
    if not yes:
        offer_service()
    click.echo(NEXT_STEPS)
    return FAILURE if failed else 0


def provide(found: Paths, names: Sequence[str], *, quiet: bool = False) -> list[str]:
    """Fetch what is named; return what could not be had."""
    if not names:
        return []
    from muxi.cli.set_up import fetch_named  # noqa: PLC0415 - it loads all that formations run on

    return fetch_named(load_settings(found, require_key=False).config, names, quiet=quiet)


def offer_provisions(found: Paths) -> None:
    """Offer to fetch what formations need, where there is somebody to ask. Nothing in it ends the command."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    from muxi.cli.set_up import offer  # noqa: PLC0415 - as above

    offer(load_settings(found, require_key=False).config)
    click.echo()


def offer_service() -> None:
    """Ask whether the server is to be a service here, where it can be. What goes wrong is only told."""
    if not service.offered():
        return
    wish = ask("Install it as a service, started with this machine? y/N", "N").lower()
    if wish not in {"y", "yes"}:
        return
    try:
        own = service.own_by_default()
        manager = service.manager_of(user=own)
        for remark in manager.install(service.definition(user=own)):
            click.echo(remark)
        click.echo(f"Installed: {manager.file}\n")
    except MuxiError as error:
        report(error, sys.stdout)


def without_questions(found: Paths, wanted: Wanted, reset: bool) -> Outcome:
    """Create or change the configuration as told. Raises ConfigError when the one there is broken."""
    if reset or not found.config_file.exists():
        return create(found, port=wanted.port, host=wanted.host, name=wanted.name)
    return change(found, existing(found), wanted)


def with_questions(found: Paths, wanted: Wanted, reset: bool) -> Outcome:
    """Ask for what is not given. The order of the questions is that of the original."""
    config = existing(found) if found.config_file.exists() and not reset else None
    override = config is None or wants_override(config)
    old_name = name_of(config.server_id) if config else None
    name = wanted.name or ask("Server name", old_name or socket.gethostname().lower())
    port = wanted.port or ask_port(config.server.port if config else ServerConfig().port)
    if override:
        return create(found, port=port, host=wanted.host, name=name)
    assert config is not None
    return change(found, config, Wanted(port, wanted.host, name))


def profile_of(found: Paths) -> Change | None:
    """Have the `muxi` command line, where there is one, know this server."""
    return keep_profile(load(found, require_key=False).config, Path.home())


def existing(found: Paths) -> Config:
    """Return what the file says by itself. Raises ConfigError, with the way out as its cure."""
    try:
        return load(found, require_key=False).config
    except ConfigError as error:
        error.cure = RESET_CURE
        raise


def wants_override(config: Config) -> bool:
    """Show what is there and ask; anything but a clear yes keeps it."""
    key = mask_id(config.auth.keys[0].id) if config.auth.keys else "none"
    click.echo("There is a configuration:")
    click.echo(f"  Server ID: {config.server_id or '(not set)'}")
    click.echo(f"  Port:      {config.server.port}")
    click.echo(f"  Key:       {key}")
    return ask("Edit it, or override it with a new one? E/o", "E").lower() in {"o", "override"}


def change(found: Paths, config: Config, wanted: Wanted) -> Outcome:
    """Write what is wanted into the file, and leave every other byte. Keys are added to one that has none."""
    changes: dict[str, str | int] = {}
    if not config.server_id or (wanted.name and wanted.name != name_of(config.server_id)):
        changes["server_id"] = new_server_id(wanted.name or socket.gethostname())
    if wanted.port and wanted.port != config.server.port:
        changes["server.port"] = wanted.port
    if wanted.host and wanted.host != config.server.host:
        changes["server.host"] = wanted.host
    credentials = None if config.auth.keys else generate()
    if credentials is not None:
        changes |= {"auth.key": credentials.id, "auth.secret": credentials.secret}
    if changes:
        text = found.config_file.read_text("utf-8")
        write_config(found.config_file, edit_config(text, changes))
    return outcome(found, credentials)
