"""The Python environment of a formation that runs natively, if it says what belongs into one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from muxi.environment.requirements import read_requirements
from muxi.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from muxi.environment.requirements import Requirements
    from muxi.environment.store import Environment, Environments
    from muxi.runtime.program import Program
    from muxi.runtime.runtime import Report, Request

STAGE: Final = "installing"
PYTHONS: Final = frozenset({"python", "python3"})


@dataclass(frozen=True, slots=True)
class Python:
    """What `python3` is for a formation: `path`; in `directory` are the programs that belong to it.

    `environment` is the environment that it is of, None where there is none.
    """

    path: Path
    directory: Path
    environment: Environment | None = None

    def variables(self, search_path: str) -> Mapping[str, str]:
        """Return what makes it the one that is found under its names."""
        found = {"PATH": os.pathsep.join((str(self.directory), search_path))}
        if self.environment is not None:
            found["VIRTUAL_ENV"] = str(self.environment.path)
        return found


def wanted_packages(program: Program, root: Path) -> Requirements | None:
    """Return what a program's bundle needs; None for nothing. Blocks. Raises RequestError, StorageError."""
    if not program.environment:
        return None
    try:
        return read_requirements(root)
    except OSError as error:
        raise StorageError(f"The bundle can't be read: {error.strerror}.", stage=STAGE) from error


def check_python(program: Program, root: Path, environments: Environments) -> bool:
    """Say what would keep it from having its Python; return whether it has an environment. Blocks."""
    wanted = wanted_packages(program, root)
    if wanted is not None or program.python is not None:
        environments.finder.find(program.python)
    return wanted is not None


async def provide(request: Request, environments: Environments) -> Python | None:
    """Have the Python of a native program at hand; None where it names none and needs nothing.

    What an earlier start of the same release had is taken again. Raises MuxiError.
    """
    pin = request.pin
    if pin is not None and pin.artifact:
        found = await environments.find(pin.artifact)
        if found is not None:
            return of_environment(found)
    return await _decide(request, environments)


async def _decide(request: Request, environments: Environments) -> Python | None:
    program, pin = request.program, request.pin
    wanted = None
    if pin is None or pin.artifact:
        wanted = await trio.to_thread.run_sync(wanted_packages, program, request.release_dir)
    if wanted is None and program.python is None:
        return None
    interpreter = await trio.to_thread.run_sync(environments.finder.find, program.python)
    if wanted is None:
        return Python(interpreter.path, interpreter.path.parent)
    recipe = environments.recipe(wanted, request.release_dir, interpreter)
    made = await environments.ensure(recipe, steps(request.report), key=None if pin is None else pin.artifact)
    return of_environment(made)


def of_environment(environment: Environment) -> Python:
    return Python(environment.python, environment.programs, environment)


def steps(report: Report) -> Callable[[str], None]:
    """Return what reports each step of an installation."""
    return lambda message: report(STAGE, message)
