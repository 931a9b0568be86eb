"""`muxi-server formation draft …`: a formation's files, edited on the server."""

from __future__ import annotations

import base64
import binascii
import sys
from typing import IO, TYPE_CHECKING

import click

from muxi.cli import options
from muxi.cli.client import formation_path, json_body
from muxi.cli.output import as_text, print_json, print_table
from muxi.cli.settings import connect
from muxi.errors import OperatorError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

path_argument = click.argument("path", metavar="PATH")


@click.command("init")
@options.formation_id
@click.option("--clone", is_flag=True, help="Begin with the files of the deployed formation.")
@options.as_json
def init(formation_id: str, clone: bool, as_json: bool) -> None:
    """Begin a draft of formation ID: a new formation that works, or with --clone the deployed one."""
    answer = act(formation_id, "init", mode="clone" if clone else "new")
    _finish(answer, f"{formation_id} has a draft.", as_json)


@click.command("list")
@options.formation_id
@click.argument("path", metavar="[PATH]", default="")
@options.as_json
def list_files(formation_id: str, path: str, as_json: bool) -> None:
    """List what is in the draft of formation ID, or in its directory PATH."""
    answer = act(formation_id, "list", path=path)
    if as_json:
        print_json(answer)
        return
    entries = data(answer).get("entries")
    rows = [
        (as_text(entry.get("name")), as_text(entry.get("type")), as_text(entry.get("size")))
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict)
    ]
    if rows:
        print_table(("name", "type", "size"), rows)
    warn_of_drift(answer)


@click.command("get")
@options.formation_id
@path_argument
@click.option("-o", "--output", type=click.File("wb", lazy=True), default="-", help="Where to; - prints it.")
def get(formation_id: str, path: str, output: IO[bytes]) -> None:
    """Print the file PATH of the draft of formation ID."""
    output.write(_read(formation_id, path))
    output.flush()


@click.command("put")
@options.formation_id
@path_argument
@click.argument("file", metavar="[FILE]", type=click.File("rb"), default="-")
@options.as_json
def put(formation_id: str, path: str, file: IO[bytes], as_json: bool) -> None:
    """Write FILE (default: standard input) as PATH into the draft of formation ID."""
    answer = _write(formation_id, path, file.read())
    _finish(answer, f"{path}: {as_text(data(answer).get('size'))} bytes written.", as_json)


@click.command("edit")
@options.formation_id
@path_argument
def edit(formation_id: str, path: str) -> None:
    """Change the text file PATH of the draft of formation ID in $VISUAL or $EDITOR."""
    try:
        text = _read(formation_id, path).decode()
    except UnicodeDecodeError:
        raise RequestError(f"{path} is not text.", cure="Use `get` and `put`.") from None
    changed = click.edit(text, extension=f".{path.rpartition('.')[2]}")
    if changed is None or changed == text:
        click.echo("Nothing was changed.", err=True)
        return
    _write(formation_id, path, changed.encode())
    click.echo(f"{path} is changed.")


@click.command("delete")
@options.formation_id
@path_argument
@options.as_json
def delete(formation_id: str, path: str, as_json: bool) -> None:
    """Remove the file or directory PATH from the draft of formation ID."""
    _finish(act(formation_id, "delete", path=path), f"{path} is deleted.", as_json)


@click.command("discard")
@options.formation_id
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.as_json
def discard(formation_id: str, yes: bool, as_json: bool) -> None:
    """Throw the draft of formation ID away; the deployed formation stays as it is."""
    if not yes and sys.stdin.isatty():
        click.confirm(f"Throw the draft of {formation_id} away?", abort=True)
    _finish(act(formation_id, "discard"), f"The draft of {formation_id} is gone.", as_json)


def draft_path(formation_id: str) -> str:
    return formation_path(formation_id, "draft", "files")


def act(formation_id: str, action: str, **fields: object) -> dict[str, object]:
    """Have one thing done to a draft and return the whole answer. Raises MuxiError."""
    body = json_body({"action": action, **fields})
    with connect() as client:
        return client.call_whole("POST", draft_path(formation_id), body)


def data(answer: Mapping[str, object]) -> Mapping[str, object]:
    found = answer.get("data")
    return found if isinstance(found, dict) else {}


def warn_of_drift(answer: Mapping[str, object]) -> None:
    """Say so when the deployed formation has changed since the draft was begun."""
    draft, live = answer.get("draft"), answer.get("live")
    if isinstance(draft, dict) and isinstance(live, dict) and draft.get("drifted"):
        click.echo(
            f"The draft was made of version {draft.get('base_version')}; "
            f"deployed is now {live.get('version') or 'none'}.",
            err=True,
        )


def _read(formation_id: str, path: str) -> bytes:
    content = data(act(formation_id, "read", path=path, encoding="base64")).get("content")
    try:
        return base64.b64decode(as_text(content), validate=True)
    except binascii.Error:
        raise OperatorError("The server's answer holds no file.") from None


def _write(formation_id: str, path: str, content: bytes) -> dict[str, object]:
    text = base64.b64encode(content).decode()
    return act(formation_id, "write", path=path, content=text, encoding="base64")


def _finish(answer: dict[str, object], done: str, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        click.echo(done)
