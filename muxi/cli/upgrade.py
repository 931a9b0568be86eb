"""`muxi-server upgrade`: a newer program in the place of this one, and if wanted in the running server's."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import trio

from muxi.cli import options
from muxi.cli.ask import data_dir_option, timeout_option
from muxi.cli.ask import outcome as ask_server
from muxi.cli.local_server import LocalServer
from muxi.cli.newest_images import fetch_newest
from muxi.cli.output import print_json
from muxi.cli.revival import beginning_of, bring_back
from muxi.cli.settings import load_settings, paths, program
from muxi.download.downloader import Downloader
from muxi.errors import OperatorError
from muxi.processor import architecture
from muxi.upgrade.installed import Installed, version_of
from muxi.upgrade.release import Releases, file_name, parse, plain

if TYPE_CHECKING:
    from muxi.cli.revival import Beginning
    from muxi.config.model import Config
    from muxi.download.progress import Progress
    from muxi.registry.outcome import Outcome

UPGRADE_SECONDS: Final = 600.0
"""How long an answer is waited for: a check of the new program, the drain, and its start."""


@dataclass(frozen=True, slots=True)
class Found:
    """The program that is installed, and the release that is to take its place, if it is newer."""

    installed: Installed
    version: str
    release: str

    @property
    def newer(self) -> bool:
        return parse(self.release) > parse(self.version)


@click.command("upgrade")
@click.option("--check", is_flag=True, help="Say whether there is a newer release; change nothing.")
@click.option(
    "--restart", is_flag=True, help="Let it take the running server's place, too. Nobody is refused."
)
@click.option(
    "--version", "wanted", metavar="VERSION", help="This release, not the newest; never an older one."
)
@click.option(
    "--images",
    is_flag=True,
    help="Fetch the newest images of the runtime and the code runner, too, where there are some.",
)
@click.option("--no-download", is_flag=True, help="Look for nothing newer: take what is installed.")
@click.option(
    "--program", "file", type=click.Path(dir_okay=False), help="The program to replace. Default: this one."
)
@data_dir_option
@timeout_option
@options.as_json
def command(
    *,
    check: bool,
    restart: bool,
    wanted: str | None,
    images: bool,
    no_download: bool,
    file: str | None,
    data_dir: str | None,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Put the newest release in the place of this program; the old one is kept beside it as `….old`.

    It is checked by its published checksum, and that it runs here. With --restart the running
    server is replaced by it: formations run on, and a program that does not come up is taken back.
    """
    seconds = UPGRADE_SECONDS if timeout is None else timeout
    target = None if no_download else installed_program(file)
    if target is None and (check or not (restart or images)):
        raise _not_ours()
    fetched = images_fetched(data_dir, as_json) if images and not check else True
    if target is None:
        done = ask_server("SIGUSR2", "upgrade", data_dir, seconds, as_json) if restart else 0
        return done or int(not fetched)
    config = load_settings(paths(data_dir=data_dir), require_key=False).config
    found = trio.run(look_up, config, target, wanted)
    if found.newer and not check:
        trio.run(install, config, found)
        say(f"Version {found.release} is installed; the old one is kept as {target.old}.", as_json)
    running = restart_or_go_back(found, data_dir, seconds, as_json) if restart and not check else None
    conclude(found, running, check=check, as_json=as_json)
    return int(not fetched)


def images_fetched(data_dir: str | None, as_json: bool) -> bool:
    """Fetch the newest images of what is here; False, and told, if that failed."""
    return fetch_newest(load_settings(paths(data_dir=data_dir), require_key=False).config, quiet=as_json)


def installed_program(file: str | None) -> Installed | None:
    """Return the program to replace; None where this one is not a file by itself."""
    if file is not None:
        return Installed(Path(file).resolve())
    return Installed(program()) if "__compiled__" in globals() else None


async def look_up(config: Config, installed: Installed, wanted: str | None) -> Found:
    """Find out what is installed, and what there is. Raises OperatorError."""
    releases = _releases(config)
    version = await trio.to_thread.run_sync(version_of, installed.path)
    parse(version)
    return Found(installed, version, plain(wanted) if wanted else await releases.newest())


async def install(config: Config, found: Found) -> None:
    """Fetch the release, check it, put it in its place. Raises OperatorError; then nothing has changed."""
    installed = found.installed
    installed.require_rights()
    directory = config.paths.cache_dir / "upgrade"
    file = directory / f"{_file()}-{found.release}"
    try:
        shown = _Shown(sys.stderr.isatty())
        await _releases(config).fetch(found.release, file, shown)
        shown.end()
        await trio.to_thread.run_sync(installed.bring, file, found.release)
    finally:
        with trio.CancelScope(shield=True):
            # A part of a download that was cut off stays, for the next try.
            await trio.to_thread.run_sync(lambda: file.unlink(missing_ok=True))
    await trio.to_thread.run_sync(installed.replace)


def restart_or_go_back(found: Found, data_dir: str | None, seconds: float, as_json: bool) -> Outcome:
    """Have the program take the running server's place; one that does not come up is taken back."""
    server = LocalServer.find(paths(data_dir=data_dir).data_dir)
    with beginning_of(server.pid) as beginning:
        return _restart_or_go_back(found, server, beginning, seconds, as_json)


def _restart_or_go_back(
    found: Found, server: LocalServer, beginning: Beginning | None, seconds: float, as_json: bool
) -> Outcome:
    try:
        outcome = server.ask("SIGUSR2", seconds)
    except OperatorError as error:
        failure, refused = error, False
    else:
        if outcome.ok:
            return _checked(found, outcome)
        failure, refused = OperatorError(" ".join(outcome.problems) or "It did not say why."), True
    if not found.newer:
        raise failure
    say(f"Version {found.release} does not come up.", as_json)
    found.installed.restore()
    raise OperatorError(
        f"Version {found.release} did not become healthy, and {found.version} is back in its place. "
        f"{failure.message}",
        cure=f"Version {found.version} serves on."
        if refused
        else _after(server.data_dir, beginning, seconds),
        details=failure.details,
    )


def _checked(found: Found, outcome: Outcome) -> Outcome:
    if found.newer and outcome.version != found.release:
        raise OperatorError(
            f"The running server is version {outcome.version} still: it was started by another program than "
            f"{found.installed.path}.",
            cure="Name that one: --program",
        )
    return outcome


def _after(data_dir: Path, beginning: Beginning | None, seconds: float) -> str:
    """Have the old program serve again; return how that went, and what is left to do."""
    with suppress(OperatorError):  # it has ended, as the server sees to it that one that hangs does
        LocalServer.find(data_dir).ask("SIGUSR2", seconds)
    serving = bring_back(data_dir, beginning)
    if serving is None:
        return "No server runs now: start it with muxi-server start. Formations run on; it takes them over."
    return f"Version {serving.version} serves again (pid {serving.pid}); formations have run on."


def conclude(found: Found, running: Outcome | None, *, check: bool, as_json: bool) -> None:
    """Tell how things stand now."""
    done = found.newer and not check
    if as_json:
        facts = {"installed": found.version, "release": found.release, "newer": found.newer, "upgraded": done}
        print_json({**facts, "program": str(found.installed.path), "running": running and running.version})
        return
    if not found.newer:
        older = parse(found.release) < parse(found.version)
        why = (
            f"{found.release} is older, and nothing is ever downgraded" if older else "there is nothing newer"
        )
        click.echo(f"Version {found.version} is installed; {why}.")
    elif check:
        click.echo(f"Version {found.release} is there; {found.version} is installed.")
        click.echo("Install it, without an interruption: muxi-server upgrade --restart")
    if running is not None:
        click.echo(f"Version {running.version} serves now, generation {running.generation} of its process.")
    elif done:
        click.echo("A server that runs goes on with the old one until: muxi-server upgrade --restart")


def say(text: str, as_json: bool) -> None:
    click.echo(text, err=as_json)


class _Shown:
    """Shows how far a download is, on a terminal."""

    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal
        self._begun = False

    def __call__(self, progress: Progress) -> None:
        if not self._terminal:
            return
        self._begun = True
        total = f" of {progress.total / 1e6:.0f}" if progress.total else ""
        click.echo(f"\r{progress.done / 1e6:.0f}{total} MB ", nl=False, err=True)

    def end(self) -> None:
        if self._begun:
            click.echo(err=True)


def _releases(config: Config) -> Releases:
    return Releases(Downloader(lambda: config.download), config.updates, _file())


def _file() -> str:
    return file_name(sys.platform, architecture())


def _not_ours() -> OperatorError:
    return OperatorError(
        "This program was not installed as one file, so it can't be replaced by one.",
        cure="Install a newer version as this one was (pip install --upgrade), "
        "then let it take over: muxi-server upgrade --restart",
    )
