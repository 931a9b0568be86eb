"""Running a formation as a plain process: its own command, an environment made from nothing."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from muxi.errors import FormationFailed, RequestError
from muxi.process.limits import NO_LIMITS
from muxi.process.spec import ProcessSpec
from muxi.runtime.program import SERVER_VARIABLES, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from muxi.process.health import HealthCheck
    from muxi.process.limits import Limits

DEFAULT_COMMAND = ("python3", "app.py")


def find_program(name: str, search_path: str) -> str | None:
    """Return the absolute path of a program that can be run, None if there is none."""
    return shutil.which(name, path=search_path)


def require_native(program: Program) -> None:
    """Raise RequestError (501, RuntimeUnavailable) for a formation that is not a native one."""
    if program.kind != "native":
        raise RequestError(
            f"'{program.id}' needs the MUXI runtime; this version of the server runs native formations only.",
            code="RuntimeUnavailable",
            status=501,
            stage="resolving_runtime",
            cure="Give the formation a `command` (or an app.py) and no `muxi_runtime`, `agents` or `llm`, "
            "or use a server version that has the MUXI runtime.",
        )


def native_spec(
    program: Program,
    release_dir: Path,
    state_dir: Path,
    *,
    process_id: str,
    host: str,
    port: int,
    server_url: str,
    stdout: Path,
    stderr: Path,
    defaults: HealthCheck,
    stop_timeout: float,
    search_path: str,
    extra_env: Mapping[str, str],
    limits: Limits = NO_LIMITS,
    find: Callable[[str, str], str | None] = find_program,
) -> ProcessSpec:
    """Make the specification of a native formation's process. Asks the disk by `find` only.

    `search_path` is the PATH it gets and in which its program is looked for, unless its manifest
    sets PATH; `extra_env` are further variables of the server's, which its manifest may not set.
    `defaults` and `stop_timeout` (seconds) hold where the manifest says nothing. Raises RequestError
    (RuntimeUnavailable, ParseError) and FormationFailed (SpawnError).
    """
    require_native(program)
    own = _own_variables(program, extra_env)
    env = {
        "PATH": search_path,
        "HOME": str(state_dir),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "MUXI_ENV": "production",
        **own,
        "PORT": str(port),
        "HOST": host,
        "FORMATION_ID": program.id,
        "MUXI_SERVER_URL": server_url,
        "_port": str(port),
        "_bind_host": host,
        **extra_env,
    }
    name, *arguments = program.command or DEFAULT_COMMAND
    return ProcessSpec(
        process_id=process_id,
        argv=(_executable(name, release_dir, env["PATH"], find), *arguments),
        cwd=release_dir,
        host=host,
        port=port,
        stdout=stdout,
        stderr=stderr,
        env=env,
        health=program.health.over(defaults),
        stop_timeout=stop_timeout if program.stop_timeout is None else program.stop_timeout,
        limits=limits,
    )


def _own_variables(program: Program, extra_env: Mapping[str, str]) -> Mapping[str, str]:
    taken = sorted(program.env.keys() & (SERVER_VARIABLES | extra_env.keys()))
    if taken:
        raise RequestError(
            f"The manifest's env sets {', '.join(taken)}, which the server sets itself.",
            code="ParseError",
            stage="validating",
            cure="Leave these out of `env`.",
        )
    referring = sorted(name for name, value in program.env.items() if "${{" in value)
    if referring:
        # Passed on as it stands, the formation would take the reference for the value.
        raise RequestError(
            f"The manifest's env refers to secrets in {', '.join(referring)}, which it can't read.",
            code="SecretsError",
            stage="validating",
            cure="Let the formation read secrets.enc itself, or set the value where the formation finds it.",
        )
    return program.env


def _executable(
    name: str, release_dir: Path, search_path: str, find: Callable[[str, str], str | None]
) -> str:
    """Look a program up: a bare name on the path, one with a slash from the release directory."""
    inside = "/" in name
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
