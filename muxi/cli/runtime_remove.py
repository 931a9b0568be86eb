"""`muxi-server runtime remove`, `prune` and `pin`: what stays on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import click
import trio

from muxi.cli import options
from muxi.cli.output import print_json, size_text
from muxi.cli.runtime_parts import parts, pins, run
from muxi.disk import disk_work

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from muxi.environment.store import Environment
    from muxi.formation.facilities import Facilities
    from muxi.formation.pins import Pins
    from muxi.images.shelf import Image


@click.command("remove")
@click.argument("version")
@click.option("--force", is_flag=True, help="Also one that a release or a pin keeps.")
@options.as_json
def remove(version: str, force: bool, as_json: bool) -> None:
    """Remove the image of VERSION (1.2.3, 1.2.3:cuda). One that a release is pinned to is kept."""
    facilities = parts()
    used = pins(facilities).images()
    image = run(facilities.library.store.remove, version, used, force=force)
    _tell(Removed([image]), "Removed", as_json=as_json)


@click.command("prune")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@options.as_json
def prune(dry_run: bool, as_json: bool) -> None:
    """Remove images and Python environments that no release needs, and what is left of old downloads.

    What is pinned, or was asked for within the hour, stays.
    """
    facilities = parts()
    removed = run(_prune, facilities, pins(facilities), dry_run=dry_run)
    _tell(removed, "Would remove" if dry_run else "Removed", as_json=as_json)


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


@dataclass(frozen=True, slots=True)
class Removed:
    """What a command has removed, or would."""

    images: Sequence[Image] = ()
    environments: Sequence[Environment] = ()
    leftovers: Sequence[Path] = ()


async def _prune(facilities: Facilities, used: Pins, *, dry_run: bool) -> Removed:
    store, images = facilities.library.store, used.images()
    if dry_run:
        found, leftovers = await store.prunable(images), await store.leftovers()
    else:
        found, leftovers = await store.prune(images)
    remove_unused = partial(facilities.environments.prune, used.artifacts(), dry_run=dry_run)
    with disk_work("remove unused Python environments"):
        environments = await trio.to_thread.run_sync(remove_unused)
    return Removed(found, environments, leftovers)


def _tell(removed: Removed, done: str, *, as_json: bool) -> None:
    named = [("images", image.name, image.path, image.size) for image in removed.images]
    named += [("environments", one.record.key, one.path, one.record.size) for one in removed.environments]
    if as_json:
        listed: dict[str, list[object]] = {"images": [], "environments": [], "leftovers": []}
        for kind, name, path, size in named:
            listed[kind].append({"name": name, "path": str(path), "size": size})
        listed["leftovers"] += map(str, removed.leftovers)
        print_json(listed)
        return
    for _, name, _, size in named:
        click.echo(f"{done} {name} ({size_text(size)})")
    for path in removed.leftovers:
        click.echo(f"{done} {path.name}")
    if not named and not removed.leftovers:
        click.echo("Nothing to remove: all that is here is used, pinned, or was asked for just now.")
