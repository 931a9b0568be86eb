"""`muxi-server config reload`, and what else a running server is asked by a signal."""

from __future__ import annotations

import click

from muxi.cli import options
from muxi.cli.failures import FAILURE
from muxi.cli.local_server import LocalServer
from muxi.cli.output import print_json
from muxi.cli.settings import paths
from muxi.errors import OperatorError

RELOAD_SECONDS = 60.0

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
    return outcome("SIGHUP", "reload", data_dir, RELOAD_SECONDS if timeout is None else timeout, as_json)


def outcome(number: str, what: str, data_dir: str | None, timeout: float, as_json: bool) -> int:
    """Ask, and say what became of it. Raises OperatorError when it was refused."""
    answer = LocalServer.find(paths(data_dir=data_dir).data_dir).ask(number, timeout)
    if as_json:
        print_json(
            {
                "ok": answer.ok,
                "kind": answer.kind,
                "pid": answer.pid,
                "version": answer.version,
                "generation": answer.generation,
                "changed": list(answer.changed),
                "pending": list(answer.pending),
                "problems": list(answer.problems),
            }
        )
        return 0 if answer.ok else FAILURE
    if not answer.ok:
        first, *rest = answer.problems or ("It did not say why.",)
        raise OperatorError(
            f"The {what} was refused, nothing has changed. {first}",
            cure=answer.cure or "Correct that, then try again.",
            details={"problems": rest},
        )
    if answer.kind == "upgrade":
        click.echo(f"Version {answer.version} serves now, generation {answer.generation} of its process.")
    else:
        _tell("Changed", answer.changed)
        _tell("Not changed, for it needs `muxi-server upgrade --restart`", answer.pending)
        if not answer.changed and not answer.pending:
            click.echo("Nothing in it has changed.")
    return 0


def _tell(what: str, names: tuple[str, ...]) -> None:
    if names:
        click.echo(f"{what}: {', '.join(names)}")
