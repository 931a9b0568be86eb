"""`muxi-server formation download ID`: saves a formation's files as a zip."""

from __future__ import annotations

import secrets
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from muxi.cli import options
from muxi.cli.client import formation_path
from muxi.cli.output import print_json
from muxi.cli.settings import connect
from muxi.errors import OperatorError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

MEGABYTE = 1024 * 1024


@click.command("download")
@options.formation_id
@click.option("-o", "--output", help="Where to; - writes it to standard output. Default: ID.zip")
@click.option("--db", "with_database", is_flag=True, help="With its database, as it is at this moment.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@options.as_json
def command(formation_id: str, output: str | None, with_database: bool, force: bool, as_json: bool) -> None:
    """Save the files of formation ID as a zip: what was deployed, and its tuning files."""
    params = {"db": "true"} if with_database else {}
    target = None if output == "-" else Path(output or f"{formation_id}.zip")
    if target is not None and target.exists() and not force:
        raise RequestError(f"{target} is there already.", cure="Give another name by -o, or --force.")
    with connect() as client, client.download(formation_path(formation_id, "download"), **params) as chunks:
        if target is None:
            for chunk in chunks:
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            return
        size = save(chunks, target, quiet=as_json)
    if as_json:
        print_json({"formation_id": formation_id, "file": str(target), "size": size})
    else:
        click.echo(f"{target}: {size:,} bytes")


def save(chunks: Iterator[bytes], target: Path, *, quiet: bool = False) -> int:
    """Write a zip to a file that appears only when it is whole, and return its size in bytes."""
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("xb") as file, counter(sys.stderr, quiet=quiet) as show:
            size = _copy(chunks, file, show)
        if not zipfile.is_zipfile(partial):
            raise OperatorError("What the server sent is not a whole zip.", cure="Try again.")
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return size


def _copy(chunks: Iterator[bytes], file: IO[bytes], show: Callable[[int], None]) -> int:
    size = 0
    for chunk in chunks:
        file.write(chunk)
        size += len(chunk)
        show(size)
    return size


@contextmanager
def counter(out: TextIO, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Give the function that shows on a terminal how much has come; elsewhere nothing is shown."""
    if quiet or not out.isatty():
        yield lambda _size: None
        return
    from rich.console import Console  # noqa: PLC0415 - slow to load, and wanted on terminals only

    with Console(file=out).status("Downloading ...", spinner="dots") as status:
        yield lambda size: status.update(f"Downloading ... {size / MEGABYTE:.1f} MB")
