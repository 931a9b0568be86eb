"""The newest images of the runtime and the code runner, for those that have some: `upgrade --images`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from muxi.cli.failures import report as tell
from muxi.cli.runtime_parts import progress, run
from muxi.errors import MuxiError
from muxi.images.library import library

if TYPE_CHECKING:
    from muxi.config.model import Config
    from muxi.images.library import Library
    from muxi.images.report import Report


def fetch_newest(config: Config, *, quiet: bool) -> bool:
    """Fetch the newest of what is here, and say so; False when something could not be had, which is told.

    What runs goes on with what it has: formations at their next deploy or update take the new one,
    the code runner when it is next started.
    """
    with progress(quiet=quiet) as report:
        here, failures = run(_fetch, library(lambda: config), report)
    for name in here:
        click.echo(f"Here is the newest: {name}", err=quiet)
    if not here and not failures:
        click.echo("No images of the runtime or the code runner are here, so none were fetched.", err=quiet)
    for failure in failures:
        tell(failure, sys.stderr)
    return not failures


async def _fetch(books: Library, report: Report) -> tuple[list[str], list[MuxiError]]:
    here: list[str] = []
    failures: list[MuxiError] = []
    for variant in sorted({image.variant for image in await books.store.installed()}):
        try:
            found = await books.store.latest(variant)
            image = await books.store.have(found.version, found.variant, report, download=True)
            here.append(f"muxi-runtime {image.name}")
        except MuxiError as error:
            failures.append(error)
    if await books.rce.installed() is not None:
        try:
            here.append((await books.rce.install(report)).stem)
        except MuxiError as error:
            failures.append(error)
    return here, failures
