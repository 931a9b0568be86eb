"""`muxi-server formation deploy DIR`: packs a directory and sends it, showing how it goes."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from muxi.cli import options
from muxi.cli.client import ServerClient, Upload, formation_path
from muxi.cli.output import print_json
from muxi.cli.pack import pack
from muxi.cli.progress import Show, display, send_and_follow
from muxi.cli.settings import connect
from muxi.errors import Conflict, MuxiError, NotFound
from muxi.formation.manifest import read_manifest

if TYPE_CHECKING:
    from muxi.formation.manifest import Manifest


@click.command("deploy")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@options.as_json
def command(directory: Path, as_json: bool) -> None:
    """Deploy DIRECTORY (default: this one) as a new formation.

    Its formation.afs says which. Ctrl-C takes the deployment back.
    """
    manifest = read_manifest(directory)
    with tempfile.TemporaryFile() as bundle, connect() as client:
        refuse_existing(client, manifest.id)
        packed = pack(directory, manifest.id, bundle)
        if not as_json:
            what = f"{manifest.id} {manifest.version} ({packed.counted})"
            click.echo(f"Deploying {what} to {client.base_url}")
        bundle.seek(0)
        with display(quiet=as_json) as show:
            result = send(client, manifest, bundle, show)
    if as_json:
        print_json(result)
        return
    click.echo(f"Deployed {manifest.id}: {result.get('status', 'running')}")
    click.echo(f"  URL: {client.base_url}/api/{manifest.id}/")


def refuse_existing(client: ServerClient, formation_id: str) -> None:
    """Raise Conflict when the server has the formation already: before anything is sent or undone."""
    try:
        client.get(formation_path(formation_id))
    except NotFound:
        return
    raise Conflict(
        f"Formation '{formation_id}' already exists on {client.base_url}.",
        code="FormationExists",
        cure="Update it: muxi-server formation update DIRECTORY",
    )


def send(client: ServerClient, manifest: Manifest, bundle: IO[bytes], show: Show) -> dict[str, object]:
    """Upload a bundle and follow its deployment. Ctrl-C on the way removes what had been begun."""
    headers = {
        "Content-Type": "application/gzip",
        "X-Formation-ID": manifest.id,
        "X-Formation-Version": manifest.version,
    }
    undo = partial(take_back, client, manifest.id)
    return send_and_follow(client, "POST", "/rpc/formations", Upload(bundle, headers), show, undo=undo)


def take_back(client: ServerClient, formation_id: str) -> None:
    """Delete a formation that this command was deploying; say so if that fails."""
    click.echo(f"Interrupted: removing {formation_id} ...", err=True)
    try:
        client.call("DELETE", formation_path(formation_id))
    except NotFound:
        pass
    except MuxiError as error:
        click.echo(f"{formation_id} could not be removed: {error.message}", err=True)
