"""`muxi-server runtime install`: downloads images of the runtime, or of the code runner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from muxi.cli import options
from muxi.cli.output import print_json
from muxi.cli.runtime_parts import parts, progress, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muxi.images.library import Library
    from muxi.images.report import Report

RCE = "rce"


@click.command("install")
@click.argument("versions", metavar="[VERSION]...", nargs=-1)
@options.as_json
def command(versions: tuple[str, ...], as_json: bool) -> None:
    """Download versions of the MUXI runtime: latest (the default), 1, 1.2, 1.2.3, 1.2.3:cuda.

    `rce`, or `rce:1.2.3`, is the code runner. A download that was cut off goes on where it stopped.
    """
    library = parts().library
    with progress(quiet=as_json) as report:
        installed = run(install, library, versions or ("latest",), report)
    if as_json:
        print_json({"installed": installed})
        return
    for one in installed:
        click.echo(f"{one['name']}: {one['path']}")


async def install(library: Library, names: Sequence[str], report: Report) -> list[dict[str, object]]:
    """Have all of these here. Raises MuxiError at the first that can't be had."""
    return [await _install(library, name, report) for name in names]


async def _install(library: Library, name: str, report: Report) -> dict[str, object]:
    if name.partition(":")[0] == RCE:
        path = await library.rce.install(report, name.partition(":")[2] or None)
        return {"name": RCE, "path": str(path)}
    found = await library.store.resolve(name, download=True)
    image = await library.store.have(found.version, found.variant, report, download=True)
    return {"name": image.name, "path": str(image.path), "sha256": image.sha256, "size": image.size}
