"""`muxi-server formation validate DIR`: what a deploy would say, without one.

The directory is packed and unpacked again as for a deploy, and checked here; then, when the
configured server answers, there too: only it knows its programs, its limits and what it has.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click
import trio

from muxi.cli import options
from muxi.cli.client import Upload
from muxi.cli.failures import FAILURE
from muxi.cli.output import as_text, print_json
from muxi.cli.pack import pack
from muxi.cli.settings import connect, load_settings, paths
from muxi.cli.status import group
from muxi.environment.store import Environments
from muxi.errors import FormationFailed, MuxiError, OperatorError
from muxi.formation.bundle import extract
from muxi.formation.check import check_bundle, verdict
from muxi.formation.manifest import read_manifest
from muxi.runtime.catalogue import Runtimes
from muxi.runtime.native import Native

if TYPE_CHECKING:
    from muxi.formation.check import Verdict


@click.command("validate")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@click.option("--offline", is_flag=True, help="Check on this machine only, and ask no server.")
@options.as_json
def command(directory: Path, offline: bool, as_json: bool) -> int:
    """Check DIRECTORY (default: this one) as a deploy would. Nothing is deployed."""
    try:
        found = check(directory, offline=offline)
    except MuxiError as error:
        if not as_json:
            raise
        print_json({"valid": False, **_problem(error)})
        return FAILURE
    if as_json:
        print_json({"valid": True, **found})
    else:
        _tell(found)
    return 0


def check(directory: Path, *, offline: bool) -> dict[str, object]:
    """Return what is known of a directory that can be deployed. Raises MuxiError."""
    formation_id = read_manifest(directory).id
    with tempfile.TemporaryDirectory() as workplace:
        bundle = Path(workplace) / "bundle.tar.gz"
        with bundle.open("xb") as file:
            pack(directory, formation_id, file)
        local, warnings = _check_here(bundle, Path(workplace) / "bundle")
        server = None
        if not offline:
            with bundle.open("rb") as file:
                server, reason = _check_there(file)
            warnings = reason if server is not None else [*warnings, *reason]
    return {**asdict(local), **(server or {}), "server": server is not None, "warnings": warnings}


def _check_here(bundle: Path, extracted: Path) -> tuple[Verdict, list[str]]:
    config = load_settings(paths(), require_key=False).config
    made = extract(
        bundle, extracted, config.formations.bundle, report=lambda _read: None, check_cancelled=lambda: None
    )
    manifest = check_bundle(made.root, config, None, None)
    try:
        search_path, settings = os.environ.get("PATH", os.defpath), config.environments
        places = config.paths.data_dir, config.paths.cache_dir
        environments = Environments(*places, search_path, lambda: settings, os.environ)
        runtimes = Runtimes((Native(search_path, environments),))
        trio.run(runtimes.check, manifest, made.root)
    except FormationFailed as error:  # it need not be on this machine
        return verdict(manifest, made), [error.message]
    except MuxiError as error:
        if error.code != "RuntimeUnavailable":
            raise
        return verdict(manifest, made), [error.message]
    return verdict(manifest, made), []


def _check_there(bundle: IO[bytes]) -> tuple[dict[str, object] | None, list[str]]:
    try:
        with connect() as client:
            upload = Upload(bundle, {"Content-Type": "application/gzip"})
            return client.call("POST", "/rpc/formations/validate", upload), []
    except OperatorError as error:
        if error.code not in {"NotRunning", "ConfigError"}:
            raise
        reason = "no server is configured." if error.code == "ConfigError" else error.message
        return None, [f"Checked on this machine only: {reason}"]


def _problem(error: MuxiError) -> dict[str, object]:
    return {
        "error": error.code,
        "message": error.message,
        "stage": error.stage,
        "cure": error.cure,
        "details": error.details,
    }


def _tell(found: dict[str, object]) -> None:
    what = f"{found['files']} files and directories, {found['size']:,} bytes"
    click.echo(f"{found['id']} {found['version']} is valid: {what}")
    if found["server"]:
        done = "updated" if found.get("action") == "update" else "deployed as a new formation"
        click.echo(f"On the server it would be {done}.")
    runtime = group(found, "runtime")
    if runtime:
        click.echo(f"It would run on {as_text(runtime.get('name'))}: {as_text(runtime.get('reason'))}.")
    warnings = found["warnings"]
    assert isinstance(warnings, list)
    for warning in warnings:
        click.echo(f"Note: {warning}", err=True)
