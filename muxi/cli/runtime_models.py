"""`muxi-server runtime models`: embedding models that MUXI formations share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from muxi.cli import options
from muxi.cli.output import print_json, print_table
from muxi.cli.runtime_parts import parts, progress, run
from muxi.images.models import MODELS, named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muxi.images.models import Model, ModelCache
    from muxi.images.report import Report


@click.command("list")
@options.as_json
def list_models(as_json: bool) -> None:
    """Show which models can be had, and which are here whole."""
    found = run(_look, parts().library.models)
    if as_json:
        print_json({"models": found})
        return
    rows = [(str(one["name"]), str(one["repository"]), "yes" if one["installed"] else "no") for one in found]
    print_table(("model", "repository", "installed"), rows)


@click.command("install")
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@options.as_json
def install(names: tuple[str, ...], as_json: bool) -> None:
    """Download models (lean, multilingual) into the cache. What is there whole is not asked for again."""
    chosen = [named(name) for name in names]
    cache = parts().library.models
    with progress(quiet=as_json) as report:
        installed = run(_install, cache, chosen, report)
    if as_json:
        print_json({"installed": installed})
        return
    for one in installed:
        click.echo(f"{one['repository']}: {one['path']}")


async def _look(cache: ModelCache) -> list[dict[str, object]]:
    return [
        {
            "name": model.name,
            "repository": model.repository,
            "installed": not await cache.missing(model),
        }
        for model in MODELS
    ]


async def _install(cache: ModelCache, models: Sequence[Model], report: Report) -> list[dict[str, object]]:
    return [
        {
            "name": model.name,
            "repository": model.repository,
            "path": str(await cache.install(model, report)),
        }
        for model in models
    ]
