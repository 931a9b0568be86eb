"""`muxi-server service install|uninstall|status`: the server as a service of this machine."""

from __future__ import annotations

import math
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from muxi.cli import options
from muxi.cli.output import print_json
from muxi.cli.settings import load_settings, program
from muxi.config.paths import find_paths
from muxi.errors import OperatorError
from muxi.service.definition import Definition
from muxi.service.launchd import Launchd
from muxi.service.scheduler import TaskScheduler
from muxi.service.systemd import RUNNING, Systemd, in_container

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.config.model import Paths
    from muxi.service.definition import ServiceManager

DIRECTORIES: Final = ("MUXI_CONFIG_DIR", "MUXI_DATA_DIR", "MUXI_LOG_DIR", "MUXI_CACHE_DIR")
MARGIN: Final = 30
"""Seconds beyond the server's own time for its end, before its manager kills it."""


def scope(command: Callable[..., object]) -> Callable[..., object]:
    """Add the options that say whose service it is."""
    help_text = (
        "Your own, started when you log in; or the machine's. Default: the machine's for root, else yours."
    )
    return click.option("--user/--system", "user", default=None, help=help_text)(command)


@click.command("install")
@scope
@click.option("--run-as", metavar="NAME", help="The user that the machine's service runs as. Default: you.")
def install(user: bool | None, run_as: str | None) -> None:
    """Start the server now, with the machine, and whenever it ends."""
    own = own_by_default() if user is None else user
    if own and run_as:
        raise click.UsageError("--run-as is for the machine's service: add --system")
    manager = manager_of(user=own)
    for remark in manager.install(definition(user=own, run_as=run_as)):
        click.echo(remark)
    click.echo(f"Installed: {manager.file}")
    click.echo("See how it does: muxi-server service status")


@click.command("uninstall")
@scope
def uninstall(user: bool | None) -> None:
    """End the service and remove it. The configuration and all data stay."""
    manager = manager_of(user=own_by_default() if user is None else user)
    click.echo(f"Removed: {manager.file}" if manager.uninstall() else "There was no such service.")


@click.command("status")
@scope
@options.as_json
def status(user: bool | None, as_json: bool) -> int:
    """Say whether the service is installed and runs; exit status 1 when it does not."""
    manager = manager_of(user=own_by_default() if user is None else user)
    found = manager.condition()
    if as_json:
        print_json({**asdict(found), "file": str(found.file), "manager": manager.name})
    else:
        click.echo(f"Installed: {'yes' if found.installed else 'no'} ({found.file})")
        click.echo(f"Running:   {'yes' if found.running else 'no'}")
        click.echo(f"At boot:   {'yes' if found.starts_with_machine else 'no'}")
        if found.detail:
            click.echo(f"Detail:    {found.detail}")
    return 0 if found.running else 1


def offered() -> bool:
    """Tell whether this machine has a manager that could take the server, and does not have it yet."""
    if sys.platform == "linux" and (in_container() or not RUNNING.is_dir()):
        return False
    if sys.platform not in {"linux", "darwin"}:
        return False
    return not any(manager_of(user=user).file.exists() for user in (True, False))


def manager_of(*, user: bool) -> ServiceManager:
    """Return this system's manager of services. Raises OperatorError where there is none."""
    if sys.platform == "darwin":
        return Launchd(user=user, home=Path.home())
    if sys.platform == "win32":
        return TaskScheduler(user=user, data_dir=_paths(Path.home()).data_dir)
    if sys.platform == "linux" and not in_container():
        return Systemd(user=user, home=Path.home())
    where = "In a container" if sys.platform == "linux" else f"On {sys.platform}"
    raise OperatorError(f"{where} there is no manager of services known.", cure="Run: muxi-server start")


def definition(*, user: bool, run_as: str | None = None) -> Definition:
    """Describe the server as it is configured here. Raises ConfigError, OperatorError."""
    name, home = (None, Path.home()) if user or sys.platform == "win32" else _account(run_as)
    found = _paths(home)
    config = load_settings(found, require_key=False).config
    return Definition(
        command=command_line(),
        stop_seconds=math.ceil(config.server.shutdown_timeout) + MARGIN,
        log_dir=found.log_dir,
        user=name,
        environment={
            variable: str(Path(os.environ[variable]).absolute())
            for variable in DIRECTORIES
            if os.environ.get(variable)
        },
        writes=(found.config_dir, found.data_dir, found.log_dir, found.cache_dir),
    )


def command_line() -> tuple[str, ...]:
    """Return what runs this program again, with its links as they are: an upgrade may change one."""
    typed = sys.argv[0]
    if Path(typed).name == "__main__.py":
        return (sys.executable, "-P", "-m", "muxi")
    return (str(Path(shutil.which(typed) or typed).absolute()),)


def own_by_default() -> bool:
    """Say whose service is meant when nobody says: the machine's for root, else the user's own."""
    return not (hasattr(os, "geteuid") and os.geteuid() == 0)


def _paths(home: Path) -> Paths:
    return find_paths(sys.platform, os.environ, program(), home)


def _account(name: str | None) -> tuple[str, Path]:
    """Return who the machine's service runs as, and where that user is at home."""
    import pwd  # noqa: PLC0415 - not on Windows

    wanted = name or os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    try:
        return wanted, Path(pwd.getpwnam(wanted).pw_dir)
    except KeyError:
        raise OperatorError(
            f"There is no user {wanted} on this machine.", cure="Name one: --run-as"
        ) from None
