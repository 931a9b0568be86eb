"""`muxi-server version`: what runs here. It must answer at once, so it loads nothing else."""

from __future__ import annotations

import json

import click

import muxi
from muxi.cli.build_info import BUILD_TIME, GIT_COMMIT, OPENSSL, PYTHON


@click.command("version")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """Print the version."""
    if as_json:
        facts = {"version": muxi.__version__, "git_commit": GIT_COMMIT, "build_time": BUILD_TIME}
        inside = {"python": PYTHON, "openssl": OPENSSL} if PYTHON else {}
        click.echo(json.dumps({**facts, **inside}))
        return
    click.echo(f"MUXI Server {muxi.__version__}")
    click.echo(f"Git Commit: {GIT_COMMIT}")
    click.echo(f"Build Time: {BUILD_TIME}")
