"""The Python environments of this server: found, made once for all who want the same, listed, removed."""

from __future__ import annotations

import copy
import re
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from muxi.config.values import format_duration
from muxi.disk import disk_work
from muxi.environment.builder import Builder, make_directory, remove, scratch
from muxi.environment.finder import Finder
from muxi.environment.installer import Pip, check_installer, choose_installer, programs
from muxi.environment.recipe import Recipe
from muxi.environment.record import mark_used, read_record, used_at
from muxi.environment.requirements import server_requirements
from muxi.environment.residents import inhabited
from muxi.errors import FormationFailed, MuxiError
from muxi.locks import held, held_at_once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from muxi.config.environments import EnvironmentsConfig
    from muxi.environment.interpreter import Interpreter
    from muxi.environment.record import Record
    from muxi.environment.requirements import Requirements

    Tell = Callable[[str], None]

DIRECTORY: Final = "environments"
"""Its name in the data directory: what formations run on is no cache."""
RECENTLY: Final = 900.0
"""Seconds for which an environment is kept after it was last wanted: a deploy may be about to use it."""
_PLACE: Final = re.compile(r"((?:resolve-)?[0-9a-f]{24})(?:\.scratch)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Environment:
    """One that is complete, at its place."""

    path: Path
    record: Record

    @property
    def programs(self) -> Path:
        """Where its programs are: python, and those that its packages brought."""
        return programs(self.path)

    @property
    def python(self) -> Path:
        return self.programs / "python"


@dataclass(slots=True, eq=False)
class _Building:
    """One that is being made, and who wants to hear of it."""

    listeners: list[Tell]
    ended: trio.Event = field(default_factory=trio.Event)
    error: MuxiError | None = None

    def tell(self, message: str) -> None:
        for listener in self.listeners:
            listener(message)


class Environments:
    """Used by many formations' tasks at once, and by commands beside the server."""

    def __init__(
        self,
        data_dir: Path,
        cache_dir: Path,
        search_path: str,
        settings: Callable[[], EnvironmentsConfig],
        environment: Mapping[str, str],
    ) -> None:
        """`environment` is the server's own; `settings` are looked up at each use."""
        self.finder = Finder(search_path, environment)
        self._directory = data_dir / DIRECTORY
        self._builder = Builder(cache_dir, search_path, environment)
        self._search_path = search_path
        self._settings = settings
        self._building: dict[str, _Building] = {}

    def recipe(self, requirements: Requirements, root: Path, interpreter: Interpreter) -> Recipe:
        """Return what to make; `root` is the directory that holds the requirements' files."""
        return Recipe(requirements, root, interpreter, self._settings())

    def check_installer(self, interpreter: Interpreter) -> None:
        """Say what would keep us from making environments of an interpreter. Blocks. Raises OperatorError."""
        check_installer(choose_installer(self._settings(), self._search_path), interpreter, "server")

    async def find(self, key: str) -> Environment | None:
        """Return the environment of that key if it is complete, and note that it is wanted."""
        return await trio.to_thread.run_sync(self._find, key)

    async def ensure(self, recipe: Recipe, tell: Tell, *, key: str | None = None) -> Environment:
        """Return the environment of a recipe, which is made where there is none. `tell` hears of each step.

        `key` is the name it has, where that was decided earlier. Whoever wants one that is being
        made waits for it; should its maker give up, the next one begins anew. Raises MuxiError:
        FormationFailed (InstallFailed) in the installer's words, StorageError, OperatorError.
        """
        key = key or recipe.key
        while True:
            found = await self.find(key)
            if found is not None:
                return found
            building = self._building.get(key)
            if building is None:
                return await self._make(key, recipe, tell)
            building.listeners.append(tell)
            try:
                await building.ended.wait()
            finally:
                building.listeners.remove(tell)
            if building.error is not None:
                raise _again(building.error)

    async def resolve(self, requirement: str, root: Path, interpreter: Interpreter, tell: Tell) -> str:
        """Return the version that a requirement such as `name==1.2.*` gets now. Raises MuxiError."""
        settings = self._settings()
        python = interpreter.path
        if isinstance(choose_installer(settings, self._search_path), Pip):
            # An interpreter may come without a pip; an empty environment has one.
            empty = self.recipe(server_requirements(), root, interpreter)
            python = (await self.ensure(empty, tell)).python
        recipe = self.recipe(server_requirements(requirement), root, interpreter)
        path = self._directory / f"resolve-{recipe.key}"
        with _deadline(recipe.settings.timeout):
            async with self._alone(path, tell):
                return await self._builder.resolve(path, recipe, python, tell)

    def list(self) -> tuple[Environment, ...]:
        """Return all that are complete, by key. Blocks. Raises OSError."""
        found = [self._read(path) for path in self._paths()]
        return tuple(one for one in found if one is not None)

    def prune(self, used: Collection[str], *, dry_run: bool = False) -> tuple[Environment, ...]:
        """Remove what is not used, and what was never finished; return the complete ones of these.

        `used` are keys. One is kept, too, that a process runs in, that was wanted a moment ago, or that
        is being made. Blocks. Raises OSError.
        """
        removed, kept = [], {*used, *inhabited(self._directory)}
        for path in self._paths():
            if path.name in kept:
                continue
            with held_at_once(_lock(path)) as free:
                found = self._read(path)
                if not free or (found is not None and time.time() - used_at(path) < RECENTLY):
                    continue
                if not dry_run:
                    remove(path)
                    remove(scratch(path))
                if found is not None:
                    removed.append(found)
        return tuple(removed)

    async def _make(self, key: str, recipe: Recipe, tell: Tell) -> Environment:
        building = self._building[key] = _Building([tell])
        path = self._directory / key
        try:
            with _deadline(recipe.settings.timeout):
                async with self._alone(path, building.tell) as lock:
                    # Another process may have made it while this one waited.
                    found = await self.find(key)
                    if found is None:
                        record = await self._builder.build(path, recipe, building.tell, lock)
                        found = Environment(path, record)
                    return found
        except MuxiError as error:
            building.error = error
            raise
        finally:
            del self._building[key]
            building.ended.set()

    @asynccontextmanager
    async def _alone(self, path: Path, tell: Tell) -> AsyncIterator[int]:
        """Be the only one who makes something there, in whatever process the others are."""

        def waits() -> None:
            tell("Waiting for another process that makes the same Python environment...")

        with disk_work("make a Python environment", stage="installing"):
            await trio.to_thread.run_sync(make_directory, path.parent)
            async with held(_lock(path), waits) as lock:
                yield lock

    def _find(self, key: str) -> Environment | None:
        found = self._read(self._directory / key)
        if found is not None:
            with suppress(OSError):  # only `prune` goes by it
                mark_used(found.path)
        return found

    def _read(self, path: Path) -> Environment | None:
        record = read_record(path)
        return None if record is None else Environment(path, record)

    def _paths(self) -> tuple[Path, ...]:
        """Return the places of all that are there, complete or not."""
        if not self._directory.is_dir():
            return ()
        names = {match[1] for path in self._directory.iterdir() if (match := _PLACE.fullmatch(path.name))}
        return tuple(self._directory / name for name in sorted(names))


def _lock(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _again(error: MuxiError) -> MuxiError:
    """Return the same for another one who waited: each operation adds to its own."""
    again = copy.copy(error)
    again.details = dict(error.details)
    return again


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError as error:
        raise FormationFailed(
            f"The Python environment was not made within {format_duration(seconds)}.",
            code="InstallFailed",
            stage="installing",
            cure="See whether the package index answers, or raise environments.timeout.",
        ) from error
