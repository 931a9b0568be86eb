"""Making one environment, at the place where it will be used, and leaving nothing when that fails.

An environment can't be moved: its programs name its Python by an absolute path, and packages may
keep more such paths. So it is not made elsewhere and renamed, but made in its place, and what is
renamed in at the end is the record that says it is complete (`muxi.environment.record`).
"""

from __future__ import annotations

import os
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from muxi.disk import disk_work
from muxi.environment.installer import Workshop, check_installer, choose_installer, installer_environment
from muxi.environment.output import Ticker, Transcript, failure
from muxi.environment.process import run
from muxi.environment.record import Record, write_record
from muxi.errors import FormationFailed
from muxi.files import PRIVATE_DIRECTORY, PRIVATE_FILE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from muxi.environment.recipe import Recipe

    Tell = Callable[[str], None]

PUBLIC_DIRECTORY: Final = 0o755
WHAT: Final = "the Python environment can't be made"


class Builder:
    """Makes environments. `environment` is the server's own."""

    def __init__(self, cache_dir: Path, search_path: str, environment: Mapping[str, str]) -> None:
        self._cache_dir = cache_dir
        self._search_path = search_path
        self._environment = environment

    async def build(self, target: Path, recipe: Recipe, tell: Tell, lock: int) -> Record:
        """Make the environment whose lock is held. Raises MuxiError; nothing is left then."""
        installer = choose_installer(recipe.settings, self._search_path)
        check_installer(installer, recipe.interpreter, recipe.requirements.source)
        count, number = len(recipe.requirements.lines), recipe.interpreter.number
        tell(f"Making a Python {number} environment with {installer.name} ({count} requirements)...")
        async with self._workshop(target, recipe) as workshop:
            try:
                for argv in installer.commands(recipe, workshop):
                    await self._run(argv, recipe, workshop, tell=tell, what=WHAT, lock=lock)
                with disk_work("store a Python environment", stage="installing"):
                    record = await trio.to_thread.run_sync(
                        write_record, target, target.name, recipe, installer.name
                    )
            except BaseException:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(remove, target)
                raise
        tell(f"Installed {record.packages} packages")
        return record

    async def resolve(self, target: Path, recipe: Recipe, python: Path, tell: Tell) -> str:
        """Return which version the recipe's one requirement gets now. Raises MuxiError.

        The lock of `target` is held, where nothing is made. `python` is one that the chosen installer
        can work with.
        """
        installer = choose_installer(recipe.settings, self._search_path)
        wanted = ", ".join(recipe.requirements.lines)
        async with self._workshop(target, recipe) as workshop:
            argv = installer.resolving(python, recipe, workshop)
            await self._run(argv, recipe, workshop, tell=tell, what=f"no version of {wanted} can be had")
            with disk_work("store a Python environment", stage="installing"):
                answer = await trio.to_thread.run_sync(workshop.answer.read_text)
        version = installer.resolved(answer)
        if version is None:
            raise FormationFailed(
                f"No version of {wanted} was named by {installer.name}.",
                code="InstallFailed",
                stage="resolving_runtime",
                cure="Name an exact version.",
            )
        return version

    async def _run(
        self,
        argv: tuple[str, ...],
        recipe: Recipe,
        workshop: Workshop,
        *,
        tell: Tell,
        what: str,
        lock: int | None = None,
    ) -> None:
        transcript, ticker = Transcript(), Ticker()

        def on_line(line: str) -> None:
            shown = ticker.tell(transcript.add(line), trio.current_time())
            if shown is not None:
                tell(shown)

        status = await run(
            argv,
            env=installer_environment(
                self._environment, self._search_path, self._cache_dir, workshop.scratch
            ),
            # A bundle may hold settings for uv, and what is made is not for this bundle alone.
            cwd=recipe.root if recipe.requirements.local else workshop.scratch,
            on_line=on_line,
            inherit=() if lock is None else (lock,),
        )
        if status != 0:
            raise failure(transcript, what)

    @asynccontextmanager
    async def _workshop(self, target: Path, recipe: Recipe) -> AsyncIterator[Workshop]:
        workshop = Workshop(target, scratch(target))
        try:
            with disk_work("store a Python environment", stage="installing"):
                await trio.to_thread.run_sync(_set_up, workshop, recipe)
            yield workshop
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(remove, workshop.scratch)


def scratch(target: Path) -> Path:
    """Return where its maker keeps what is thrown away in the end."""
    return target.with_name(f"{target.name}.scratch")


def make_directory(path: Path) -> None:
    """Make the directory of all environments; formations may run as another user. Blocks. Raises OSError."""
    path.mkdir(PUBLIC_DIRECTORY, parents=True, exist_ok=True)


def remove(path: Path) -> None:
    """Remove a directory with all below it; what can't be removed is left for the next time. Blocks."""
    shutil.rmtree(path, ignore_errors=True)


def _set_up(workshop: Workshop, recipe: Recipe) -> None:
    """Clear away what a killed server has left, and write what the commands read."""
    for path in (workshop.target, workshop.scratch):
        if path.exists():
            shutil.rmtree(path)
    workshop.scratch.mkdir(mode=PRIVATE_DIRECTORY)
    for path, text in workshop.files(recipe).items():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, PRIVATE_FILE), "w") as file:
            file.write(text)
