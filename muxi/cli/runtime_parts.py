"""What the commands about runtimes work with: the configured directories, and how downloads are shown."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import click
import trio

from muxi.cli.arguments import Invocation
from muxi.cli.output import clean
from muxi.cli.settings import load_settings, paths
from muxi.formation.facilities import Facilities
from muxi.formation.pins import read_pins
from muxi.observe.logging import log_to
from muxi.registry.ports import PortPool
from muxi.registry.routes import RouteTable
from muxi.registry.store import NAME, Registry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from typing import TextIO

    from muxi.formation.pins import Pins
    from muxi.images.report import Report

T = TypeVar("T")


def parts() -> Facilities:
    """Return what a server of this configuration would work with; nothing of it is started."""
    config = load_settings(paths(), require_key=False).config
    return Facilities(
        config=config,
        registry=Registry(config.paths.data_dir / NAME),
        ports=PortPool(*config.formations.port_range),
        routes=RouteTable(),
        server_url="",
        search_path=os.environ.get("PATH", os.defpath),
        restoring=trio.CapacityLimiter(1),
    )


def pins(facilities: Facilities) -> Pins:
    """Return what the releases of this data directory run on. Raises StorageError."""
    return read_pins(facilities.formations_dir)


def run(work: Callable[..., Awaitable[T]], *arguments: object, **options: object) -> T:
    """Run something asynchronous to its end; Ctrl-C cancels it, and what has been downloaded stays.

    What is logged meanwhile goes to standard error, which a terminal and `--json` need: warnings, or
    as `--log-level` says.
    """
    with log_to(sys.stderr, _log_level()):
        return trio.run(partial(work, *arguments, **options))


@contextmanager
def progress(*, quiet: bool = False, stream: TextIO | None = None) -> Iterator[Report]:
    """Give the report of downloads: a live line on a terminal, elsewhere a line for each that begins."""
    out = stream or sys.stderr
    if quiet:
        yield _silent
    elif out.isatty():
        with _live(out) as report:
            yield report
    else:
        yield _plain(out)


def _log_level() -> str:
    context = click.get_current_context(silent=True)
    invocation = context.find_root().obj if context is not None else None
    return (invocation.log_level if isinstance(invocation, Invocation) else None) or "warning"


def _silent(stage: str, message: str, **fields: object) -> None:
    del stage, message, fields


def _plain(out: TextIO) -> Report:
    shown: list[str] = []

    def report(stage: str, message: str, **fields: object) -> None:
        del stage, fields
        what = message.partition(":")[0]
        if what not in shown:
            shown.append(what)
            print(clean(message), file=out, flush=True)

    return report


@contextmanager
def _live(out: TextIO) -> Iterator[Report]:
    from rich.console import Console  # noqa: PLC0415 - slow to load, and wanted on terminals only

    with Console(file=out).status("Looking ...", spinner="dots") as status:

        def report(stage: str, message: str, **fields: object) -> None:
            del stage, fields
            status.update(clean(message).replace("[", r"\["))

        yield report
