"""`muxi-server runtime list`: what formations can run on here, what is installed, and who uses it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from muxi.cli import options
from muxi.cli.output import as_text, print_json, print_table, size_text
from muxi.cli.runtime_parts import parts, pins, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from muxi.formation.facilities import Facilities
    from muxi.formation.pins import Pins
    from muxi.images.shelf import Image


@click.command("list")
@options.as_json
def command(as_json: bool) -> None:
    """Show what formations can run on here, which images are installed, and who uses what."""
    facilities = parts()
    found = run(look, facilities, pins(facilities))
    if as_json:
        print_json(found)
    else:
        show(found)


async def look(facilities: Facilities, used: Pins) -> dict[str, list[dict[str, object]]]:
    """Return all there is to show, as JSON values. Raises MuxiError."""
    presences = await facilities.runtimes.presences()
    users = used.images()
    images = await facilities.library.store.installed()
    return {
        "runtimes": [asdict(presence) for presence in presences.values()],
        "images": [_image(image, users.get(image.name, [])) for image in images],
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
    if found["formations"]:
        click.echo()
        columns = ("formation", "runtime", "version", "why")
        names = ("id", "runtime", "version", "reason")
        rows = [tuple(as_text(row[name]) for name in names) for row in found["formations"]]
        print_table(columns, rows)


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


def _presence_row(presence: Mapping[str, object]) -> tuple[str, ...]:
    what = presence["detail"] if presence["available"] else presence["problem"]
    return (
        as_text(presence["name"]),
        as_text(presence["available"]),
        as_text(presence["version"]),
        as_text(what),
    )
