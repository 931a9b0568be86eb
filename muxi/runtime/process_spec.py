"""What the specifications of all runtimes have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxi.errors import RequestError
from muxi.process.spec import ProcessSpec
from muxi.runtime.program import SERVER_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from muxi.runtime.program import Program
    from muxi.runtime.runtime import Surroundings


def make_spec(
    program: Program, around: Surroundings, *, argv: tuple[str, ...], cwd: Path, env: Mapping[str, str]
) -> ProcessSpec:
    """Put a specification together; the manifest's own health check and stop time-out win."""
    return ProcessSpec(
        process_id=around.process_id,
        argv=argv,
        cwd=cwd,
        host=around.host,
        port=around.port,
        stdout=around.stdout,
        stderr=around.stderr,
        env=env,
        health=program.health.over(around.defaults),
        stop_timeout=around.stop_timeout if program.stop_timeout is None else program.stop_timeout,
        limits=around.limits,
    )


def server_variables(program: Program, around: Surroundings) -> Mapping[str, str]:
    """Return what the server tells every formation of itself; the last two are the original's."""
    return {
        "PORT": str(around.port),
        "HOST": around.host,
        "FORMATION_ID": program.id,
        "MUXI_SERVER_URL": around.server_url,
        "_port": str(around.port),
        "_bind_host": around.host,
        **around.extra_env,
    }


def own_variables(program: Program, extra_env: Mapping[str, str]) -> Mapping[str, str]:
    """Return the manifest's `env`.

    Raises RequestError: ParseError for a variable that the server sets, SecretsError for a value that
    refers to a secret.
    """
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
