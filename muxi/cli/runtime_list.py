"""`muxi-server runtime list`: what formations can run on here, what is installed, and who uses it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click
import trio

from muxi.cli import options
from muxi.cli.output import as_text, print_json, print_table, size_text
from muxi.cli.runtime_parts import parts, pins, run
from muxi.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from muxi.environment.store import Environment
    from muxi.formation.facilities import Facilities
    from muxi.formation.pins import Pins
    from muxi.images.shelf import Image


@click.command("list")
@options.as_json
def command(as_json: bool) -> None:
    """Show what formations can run on here, what is installed for them, and who uses it."""
    facilities = parts()
    found = run(look, facilities, pins(facilities))
    if as_json:
        print_json(found)
    else:
        show(found)


async def look(facilities: Facilities, used: Pins) -> dict[str, list[dict[str, object]]]:
    """Return all there is to show, as JSON values. Raises MuxiError."""
    presences = await facilities.runtimes.presences()
    users, keepers = used.images(), used.artifacts()
    images = await facilities.library.store.installed()
    environments = await trio.to_thread.run_sync(facilities.environments.list)
    return {
        "runtimes": [asdict(presence) for presence in presences.values()],
        "images": [_image(image, users.get(image.name, [])) for image in images],
        "environments": [_environment(one, keepers.get(one.record.key, [])) for one in environments],
        "formations": [
            {"id": formation_id, "runtime": pin.runtime, "version": pin.version, "reason": pin.reason}
            for formation_id, pin in used.current.items()
        ],
    }


def show(found: Mapping[str, Sequence[Mapping[str, object]]]) -> None:
    """Print it for a person: a table each, without those that are empty."""
    print_table(
        ("runtime", "present", "version", "what"),
        [_presence_row(presence) for presence in found["runtimes"]],
    )
    if found["images"]:
        click.echo()
        print_table(
            ("image", "size", "downloaded", "pinned", "used by"),
            [
                (
                    as_text(image["name"]),
                    size_text(image["size"]),
                    as_text(image["downloaded_at"]),
                    as_text(image["pinned"]),
                    as_text(image["used_by"]),
                )
                for image in found["images"]
            ],
        )
    if found["environments"]:
        click.echo()
        names = ("key", "python", "packages", "size", "created_at", "used_by")
        print_table(
            ("environment", "python", "packages", "size", "made", "used by"),
            [
                tuple(size_text(row[name]) if name == "size" else as_text(row[name]) for name in names)
                for row in found["environments"]
            ],
        )
    if found["formations"]:
        click.echo()
        told = ("id", "runtime", "version", "reason")
        print_table(
            ("formation", "runtime", "version", "why"),
            [tuple(as_text(row[name]) for name in told) for row in found["formations"]],
        )


def _image(image: Image, users: list[str]) -> dict[str, object]:
    return {
        "name": image.name,
        "version": str(image.version),
        "variant": image.variant,
        "path": str(image.path),
        "size": image.size,
        "sha256": image.sha256,
        "downloaded_at": image.downloaded_at,
        "pinned": image.pinned,
        "used_by": users,
    }


def _environment(environment: Environment, users: list[str]) -> dict[str, object]:
    record = environment.record
    return {
        "key": record.key,
        "path": str(environment.path),
        "python": record.python,
        "source": record.source,
        "packages": record.packages,
        "size": record.size,
        "created_at": rfc3339(record.created_at),
        "used_by": users,
    }


def _presence_row(presence: Mapping[str, object]) -> tuple[str, ...]:
    what = presence["detail"] if presence["available"] else presence["problem"]
    return (
        as_text(presence["name"]),
        as_text(presence["available"]),
        as_text(presence["version"]),
        as_text(what),
    )
