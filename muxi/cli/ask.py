"""`muxi-server config reload` and `upgrade --restart`: what a running server is asked by a signal."""

from __future__ import annotations

import click

from muxi.cli import options
from muxi.cli.failures import FAILURE
from muxi.cli.local_server import LocalServer
from muxi.cli.output import print_json
from muxi.cli.settings import paths
from muxi.errors import OperatorError

RELOAD_SECONDS = 60.0
UPGRADE_SECONDS = 600.0
"""How long an answer is waited for: a check of the new program, the drain, and its start."""

data_dir_option = click.option(
    "--data-dir", type=click.Path(file_okay=False), help="The data directory of the server that is meant."
)
timeout_option = click.option(
    "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="How long to wait for the outcome."
)


@click.command("reload")
@data_dir_option
@timeout_option
@options.as_json
def reload(data_dir: str | None, timeout: float | None, as_json: bool) -> int:
    """Let the running server read its configuration again, and say what has changed.

    A configuration with a fault changes nothing: its faults are listed, and the exit status is 1.
    """
    return _ask("SIGHUP", "reload", data_dir, RELOAD_SECONDS if timeout is None else timeout, as_json)


@click.command("upgrade")
@click.option("--restart", is_flag=True, help="Let the program that is installed now take over.")
@data_dir_option
@timeout_option
@options.as_json
def upgrade(restart: bool, data_dir: str | None, timeout: float | None, as_json: bool) -> int:
    """Let the program that is installed now take the running server's place.

    Nobody is refused meanwhile, and formations run on. A program that could not start is not
    let in: what is wrong with it is told, and the exit status is 1.
    """
    if not restart:
        raise click.UsageError("This version does not download others. Install one, then give --restart.")
    return _ask("SIGUSR2", "upgrade", data_dir, UPGRADE_SECONDS if timeout is None else timeout, as_json)


def _ask(number: str, what: str, data_dir: str | None, timeout: float, as_json: bool) -> int:
    outcome = LocalServer.find(paths(data_dir=data_dir).data_dir).ask(number, timeout)
    if as_json:
        print_json(
            {
                "ok": outcome.ok,
                "kind": outcome.kind,
                "pid": outcome.pid,
                "version": outcome.version,
                "generation": outcome.generation,
                "changed": list(outcome.changed),
                "pending": list(outcome.pending),
                "problems": list(outcome.problems),
            }
        )
        return 0 if outcome.ok else FAILURE
    if not outcome.ok:
        first, *rest = outcome.problems or ("It did not say why.",)
        raise OperatorError(
            f"The {what} was refused, nothing has changed. {first}",
            cure=outcome.cure or "Correct that, then try again.",
            details={"problems": rest},
        )
    if outcome.kind == "upgrade":
        click.echo(f"Version {outcome.version} serves now, generation {outcome.generation} of its process.")
    else:
        _tell("Changed", outcome.changed)
        _tell("Not changed, for it needs `muxi-server upgrade --restart`", outcome.pending)
        if not outcome.changed and not outcome.pending:
            click.echo("Nothing in it has changed.")
    return 0


def _tell(what: str, names: tuple[str, ...]) -> None:
    if names:
        click.echo(f"{what}: {', '.join(names)}")
