"""`muxi-server formation update DIR`: packs a directory and puts it in the place of what is deployed."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from muxi.cli import options
from muxi.cli.client import ServerClient, Upload, formation_path
from muxi.cli.output import as_text, print_json
from muxi.cli.pack import pack
from muxi.cli.progress import Show, display, send_and_follow
from muxi.cli.settings import connect
from muxi.errors import MuxiError
from muxi.formation.manifest import read_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.formation.manifest import Manifest


@click.command("update")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@options.strategy
@click.option("--force", is_flag=True, help="Also when nothing has changed.")
@options.as_json
def command(directory: Path, strategy: str | None, force: bool, as_json: bool) -> None:
    """Update a formation to what DIRECTORY (default: this one) holds, without an interruption.

    Its formation.afs says which formation. Ctrl-C cancels the update; what runs goes on running.
    """
    manifest = read_manifest(directory)
    params = options.given(strategy=strategy, force="true" if force else None)
    with tempfile.TemporaryFile() as bundle, connect() as client:
        client.get(formation_path(manifest.id))  # one that is not there is told before anything is packed
        packed = pack(directory, manifest.id, bundle)
        if not as_json:
            what = f"{manifest.id} to {manifest.version} ({packed.counted})"
            click.echo(f"Updating {what} on {client.base_url}")
        bundle.seek(0)
        with display(quiet=as_json) as show:
            result = send(client, manifest, bundle, params, show)
    tell(result, f"Updated {manifest.id}", as_json=as_json)


def send(
    client: ServerClient, manifest: Manifest, bundle: IO[bytes], params: Mapping[str, str], show: Show
) -> dict[str, object]:
    """Upload a bundle and follow the update. Ctrl-C on the way cancels it."""
    headers = {"Content-Type": "application/gzip", "X-Formation-Version": manifest.version}
    upload, undo = Upload(bundle, headers), partial(take_back, client, manifest.id, "update")
    return send_and_follow(client, "PUT", formation_path(manifest.id), upload, show, undo=undo, **params)


def take_back(client: ServerClient, formation_id: str, doing: str) -> None:
    """Cancel what this command was doing; say so if it is too late."""
    click.echo(f"Interrupted: cancelling the {doing} of {formation_id} ...", err=True)
    try:
        client.call("POST", formation_path(formation_id, "cancel"))
    except MuxiError as error:
        click.echo(f"It could not be cancelled: {error.message}", err=True)


def tell(result: dict[str, object], done: str, *, as_json: bool) -> None:
    """Print what an update or a rollback has come to."""
    if as_json:
        print_json(result)
        return
    release = as_text(result.get("release"))
    click.echo(f"{done}: version {as_text(result.get('version'))}, release {release}")
    click.echo(f"  Before: release {as_text(result.get('previous_release'))}")
