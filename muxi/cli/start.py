"""`muxi-server start`: runs the server here, until a signal ends it."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from muxi.cli.banner import print_banner
from muxi.cli.create import create, print_credentials
from muxi.cli.settings import load_settings, paths
from muxi.server import check, run

if TYPE_CHECKING:
    from muxi.cli.arguments import Invocation
    from muxi.config.model import Paths


@click.command("start")
@click.option("--port", type=click.IntRange(0, 65535), help="The public port; 0: any free one.")
@click.option("--host", help="The address to listen on.")
@click.option("--log-level", "_level", metavar="LEVEL", help="debug, info, warn or error.")
@click.option("--config-dir", type=click.Path(file_okay=False), help="Where config.yaml is.")
@click.option("--data-dir", type=click.Path(file_okay=False), help="Where formations and logs are kept.")
@click.option(
    "--keep", is_flag=True, help="When the server ends, leave formations running for its next start."
)
@click.option("--check", "only_check", is_flag=True, help="Say whether it could start; change nothing.")
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    port: int | None,
    host: str | None,
    _level: str | None,
    config_dir: str | None,
    data_dir: str | None,
    keep: bool,
    only_check: bool,
) -> int:
    """Run the server. Without a configuration it makes one first, as `init --yes` does.

    What is given here goes over the environment, and that over config.yaml.
    """
    found = paths(config_dir, data_dir)
    flags = {
        "server.port": port,
        "server.host": host,
        "server.on_stop": "keep" if keep else None,
        "logging.level": invocation.log_level,
    }
    if only_check:
        click.echo(check(load_settings(found, flags).config))
        return 0
    if sys.stdout.isatty():
        print_banner(sys.stdout)
    make_missing(found, port, host)
    config, notes = load_settings(found, flags)
    return run(config, notes=notes, reread=partial(load_settings, found, flags))


def make_missing(found: Paths, port: int | None, host: str | None) -> None:
    """Make the configuration when there is none, so that the server never runs open by accident.

    The port and host given for this first run are written into it, so that clients find the server.
    """
    if not found.config_file.exists():
        print_credentials(create(found, port=port, host=host), sys.stdout)
