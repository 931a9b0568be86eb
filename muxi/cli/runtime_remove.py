"""`muxi-server runtime remove`, `prune` and `pin`: which images stay on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from muxi.cli import options
from muxi.cli.output import print_json, size_text
from muxi.cli.runtime_parts import parts, pins, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from muxi.images.shelf import Image
    from muxi.images.store import ImageStore


@click.command("remove")
@click.argument("version")
@click.option("--force", is_flag=True, help="Also one that a release or a pin keeps.")
@options.as_json
def remove(version: str, force: bool, as_json: bool) -> None:
    """Remove the image of VERSION (1.2.3, 1.2.3:cuda). One that a release is pinned to is kept."""
    facilities = parts()
    used = pins(facilities).images()
    image = run(facilities.library.store.remove, version, used, force=force)
    _tell([image], [], "Removed", as_json=as_json)


@click.command("prune")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@options.as_json
def prune(dry_run: bool, as_json: bool) -> None:
    """Remove images that no release needs, and what is left of downloads that were given up.

    What is pinned, or was asked for within the hour, stays.
    """
    facilities = parts()
    used = pins(facilities).images()
    images, paths = run(_prune, facilities.library.store, used, dry_run=dry_run)
    _tell(images, paths, "Would remove" if dry_run else "Removed", as_json=as_json)


@click.command("pin")
@click.argument("version")
@click.option("--off", is_flag=True, help="Keep it no longer.")
@options.as_json
def pin(version: str, off: bool, as_json: bool) -> None:
    """Keep the image of VERSION (1.2.3, 1.2.3:cuda) when pruning, whether a release needs it or not."""
    image = run(parts().library.store.pin, version, pinned=not off)
    if as_json:
        print_json({"name": image.name, "pinned": image.pinned})
    else:
        click.echo(f"{image.name} is {'pinned' if image.pinned else 'no longer pinned'}.")


async def _prune(
    store: ImageStore, used: dict[str, list[str]], *, dry_run: bool
) -> tuple[list[Image], list[Path]]:
    if dry_run:
        return await store.prunable(used), await store.leftovers()
    return await store.prune(used)


def _tell(images: Sequence[Image], paths: Sequence[Path], done: str, *, as_json: bool) -> None:
    if as_json:
        listed = [{"name": image.name, "path": str(image.path), "size": image.size} for image in images]
        print_json({"images": listed, "leftovers": [str(path) for path in paths]})
        return
    for image in images:
        click.echo(f"{done} {image.name} ({size_text(image.size)})")
    for path in paths:
        click.echo(f"{done} {path.name}")
    if not images and not paths:
        click.echo("Nothing to remove: all that is here is used, pinned, or was asked for within the hour.")
