"""Offering, at `init`, to fetch what formations need. What cannot be had is only told."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

import click

from muxi.cli.failures import report as tell
from muxi.cli.provider import CODE_RUNNER, Provider
from muxi.cli.questions import ask
from muxi.cli.runtime_parts import progress, run
from muxi.errors import MuxiError, OperatorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muxi.cli.provisions import Provision
    from muxi.config.model import Config

LATER: Final = "It comes by itself with the deploy that needs it, or by: muxi-server init --yes --setup all\n"


def offer(config: Config) -> None:
    """Ask for each thing that is missing whether to fetch it now, then fetch. What fails is only told."""
    try:
        _offer(config)
    except MuxiError as error:
        tell(error, sys.stdout)
    except KeyboardInterrupt:
        click.echo("\nStopped. What has come is kept, and the next try goes on there. " + LATER)


def _offer(config: Config) -> None:
    provider = Provider(config, os.environ)
    with progress(stream=sys.stdout):
        found = run(provider.look)
    if not found.engine:
        click.echo(f"Nothing here can run MUXI formations, those with agents ({found.problem}).")
        click.echo("Others run as they are. See how it stands: muxi-server runtime list\n")
        return
    if not found.missing:
        return
    click.echo(f"MUXI formations, those with agents, run on {found.engine} here.")
    reachable = [one for one in found.missing if one not in found.silent]
    if not reachable:
        click.echo(f"What they need can't be fetched now: nobody answers. {LATER}")
        return
    chosen = [one for one in reachable if _wants(one)]
    for one in found.silent:
        click.echo(f"{one.title}: can't be fetched now, nobody answers.")
    if fetch(chosen) or found.silent:
        click.echo(LATER)


def fetch_named(config: Config, names: Sequence[str], *, quiet: bool = False) -> list[str]:
    """Fetch what is named, without a question; return the names of what could not be had."""
    found = run(Provider(config, os.environ).named, names)
    useless = [name for name in names if name not in {one.name for one in found}]
    for name in useless:
        tell(_of_no_use(name, config), sys.stderr if quiet else sys.stdout)
    return useless + fetch(found, quiet=quiet)


def fetch(provisions: Sequence[Provision], *, quiet: bool = False) -> list[str]:
    """Fetch one after the other, and tell of each; return the names of those that could not be had."""
    failed: list[str] = []
    for one in provisions:
        try:
            with progress(quiet=quiet) as report:
                run(one.fetch, report)
        except MuxiError as error:
            failed.append(one.name)
            tell(error, sys.stderr if quiet else sys.stdout)
        else:
            if not quiet:
                click.echo(f"{one.title}: here{_consequence(one)}.")
    return failed


def _of_no_use(name: str, config: Config) -> OperatorError:
    if config.rce.command:
        why, cure = "rce.command names a program of this machine", "Leave that empty to have an image run."
    else:
        why, cure = "there is neither Apptainer nor Docker", "Install one of them: muxi-server runtime list"
    return OperatorError(f"'{name}' is of no use here: {why}.", cure=cure)


def _consequence(one: Provision) -> str:
    return ", and switched on (rce.auth_token)" if one.name == CODE_RUNNER else ""


def _wants(one: Provision) -> bool:
    default = "Y" if one.wanted else "N"
    choice = "Y/n" if one.wanted else "y/N"
    question = f"Fetch now: {one.title}, which {one.purpose} (about {_size(one.size)})? {choice}"
    return ask(question, default).lower() in {"y", "yes"}


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size / 1e6, 1):.0f} MB"
