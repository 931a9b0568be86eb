"""The code runner in an image file, run by Apptainer as formations are. Pure.

See `muxi.runtime.apptainer_command` for what the flags and variables are for.
Nothing of this machine is in it but its cache, and a place on the disk for its /tmp.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from muxi.rce.program import RunnerProgram
from muxi.runtime.apptainer_command import Container, Mount, environment, token_variables
from muxi.runtime.process_spec import make_spec

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.process.spec import ProcessSpec
    from muxi.rce.settings import RceSettings
    from muxi.runtime.apptainer_engine import Engine
    from muxi.runtime.runtime import Surroundings

CACHE: Final = "/cache/skills"
FLAGS: Final = ("--containall", "--cleanenv", "--pid", "--no-privs", "--no-eval", "--no-home")


def image_file_spec(settings: RceSettings, engine: Engine, sif: Path, around: Surroundings) -> ProcessSpec:
    """Make the specification of its process on the port of the surroundings."""
    inside = {
        "RCE_PORT": str(around.port),
        "RCE_AUTH_TOKEN": settings.token,
        "RCE_CACHE_DIR": CACHE,
        "HOST": around.host,
    }
    scratch = settings.home / "scratch" / f"{around.process_id}.{around.port}"
    container = Container(
        image=sif, variant="", release=settings.home, state=settings.cache, scratch=scratch, env=inside
    )
    argv = (
        engine.program,
        "--quiet",
        "exec",
        *FLAGS,
        "--workdir",
        str(scratch),
        "--mount",
        str(Mount(settings.cache, CACHE, writable=True)),
        str(sif),
        "skills-rce",
    )
    spec = make_spec(
        RunnerProgram(kind="native", env={}),
        around,
        argv=argv,
        cwd=settings.home,
        env=environment(engine, container, around.search_path, settings.home / "engine"),
    )
    return replace(spec, scratch=scratch, token_variables=token_variables(engine))
