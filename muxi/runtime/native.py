"""Running a formation as a plain process: its own command, an environment made from nothing."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING

from muxi.errors import FormationFailed
from muxi.process.health import HealthCheck
from muxi.runtime.packages import PYTHONS, check_python, provide
from muxi.runtime.pin import Pin
from muxi.runtime.process_spec import make_spec, own_variables, server_variables
from muxi.runtime.runtime import Prepared, Presence, Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from muxi.environment.store import Environment, Environments
    from muxi.process.spec import ProcessSpec
    from muxi.runtime.packages import Python
    from muxi.runtime.program import Program
    from muxi.runtime.runtime import Request

DEFAULT_COMMAND = ("python3", "app.py")


def find_program(name: str, search_path: str) -> str | None:
    """Return the absolute path of a program that can be run, None if there is none."""
    return shutil.which(name, path=search_path)


class Native:
    """Formations that are plain processes of this machine. Always present."""

    name = "native"

    def __init__(self, search_path: str, environments: Environments) -> None:
        """`search_path` is the PATH on which programs are looked up."""
        self._search_path = search_path
        self._environments = environments

    async def presence(self) -> Presence:
        return Presence(self.name, available=True)

    def check(self, program: Program, release_dir: Path) -> None:
        """See `Runtime.check`; the errors are those of `native_spec`."""
        nowhere = Surroundings(
            process_id=program.id,
            host="127.0.0.1",
            port=0,
            server_url="",
            stdout=release_dir,
            stderr=release_dir,
            defaults=HealthCheck(),
            stop_timeout=0.0,
            search_path=self._search_path,
        )
        has_environment = check_python(program, release_dir, self._environments)
        # What an environment will bring can't be looked up before it is made.
        find = _suppose if has_environment else find_program
        native_spec(program, release_dir, release_dir, nowhere, find=find)

    async def prepare(self, request: Request) -> Prepared:
        python = await provide(request, self._environments)
        made = None if python is None else python.environment
        return Prepared(
            pin=Pin(runtime=self.name, artifact=made.path.name if made else ""),
            description=_describe(self.name, made),
            spec=partial(native_spec, request.program, request.release_dir, request.state_dir, python=python),
        )


def native_spec(
    program: Program,
    release_dir: Path,
    state_dir: Path,
    around: Surroundings,
    *,
    python: Python | None = None,
    find: Callable[[str, str], str | None] = find_program,
) -> ProcessSpec:
    """Make the specification of a native formation's process. Asks the disk by `find` only.

    `python` is what it finds under Python's names, where that is decided.

    Raises RequestError (ParseError, SecretsError) and FormationFailed (SpawnError).
    """
    own = own_variables(program, around.extra_env)
    env = {
        "PATH": around.search_path,
        "HOME": str(state_dir),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "MUXI_ENV": "production",
        **own,
        **server_variables(program, around),
    }
    name, *arguments = program.command or DEFAULT_COMMAND
    if python is not None:
        env |= python.variables(env["PATH"])
        name = str(python.path) if name in PYTHONS else name
    return make_spec(
        program,
        around,
        argv=(_executable(name, release_dir, env["PATH"], find), *arguments),
        cwd=release_dir,
        env=env,
    )


def _suppose(name: str, search_path: str) -> str | None:
    return find_program(name, search_path) or (None if "/" in name else name)


def _describe(name: str, made: Environment | None) -> str:
    if made is None:
        return name
    return f"{name}, Python {made.record.python} with {made.record.packages} packages"


def _executable(
    name: str, release_dir: Path, search_path: str, find: Callable[[str, str], str | None]
) -> str:
    """Look a program up: a bare name on the path, one with a slash from the release directory."""
    inside = "/" in name and not name.startswith("/")
    if inside and ".." in name.split("/"):
        raise _no_program(f"The program '{name}' is outside of the formation.", "Name it without '..'.")
    found = find(str(release_dir / name) if inside else name, search_path)
    if found is not None:
        return found
    if inside:
        raise _no_program(
            f"The program '{name}' is not in the formation, or may not be executed.",
            f"Check the name, and make it executable before packing: chmod +x {name}",
        )
    raise _no_program(
        f"The program '{name}' was not found on this server (PATH: {search_path}).",
        f"Install '{name}' on the server, or name another program in the manifest's `command`.",
    )


def _no_program(message: str, cure: str) -> FormationFailed:
    return FormationFailed(message, code="SpawnError", stage="spawning", cure=cure)
