"""The code runner as a runtime sees it: a program like a formation's, made of settings.

It takes its settings from its environment: RCE_PORT, RCE_AUTH_TOKEN, RCE_CACHE_DIR. It listens on all
interfaces, and offers no setting for that; HOST says what we wish, for a program that heeds it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from muxi.rce.settings import PROCESS_ID
from muxi.runtime.program import HealthOptions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from muxi.rce.settings import RceSettings

HEALTH_PATH = "/health"
CONTAINER_CACHE = "/cache/skills"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerProgram:
    """A `muxi.runtime.program.Program`."""

    kind: Literal["native", "image"]
    env: Mapping[str, str] = field(repr=False)
    command: tuple[str, ...] | None = None
    image: str | None = None
    id: str = PROCESS_ID
    muxi_runtime: str | None = None
    python: str | None = None
    environment: bool = False
    sandbox: bool | None = None
    health: HealthOptions = field(default_factory=lambda: HealthOptions(path=HEALTH_PATH))
    stop_timeout: float | None = None


def command_program(settings: RceSettings, port: int) -> RunnerProgram:
    """Run a program of this machine, as the configuration names it."""
    env = {**_variables(settings, port), "RCE_CACHE_DIR": str(settings.cache)}
    return RunnerProgram(kind="native", command=settings.command, env=env)


def sif_program(settings: RceSettings, port: int, engine: str, sif: Path) -> RunnerProgram:
    """Run an image file, by Apptainer or Singularity at `engine`.

    Nothing of this machine is in it but its cache, and a place on the disk for its /tmp, which would
    else be a few megabytes of memory. What its environment is to hold goes through the engine's own,
    under a prefix: arguments can be seen by everybody.
    """
    prefix = "SINGULARITYENV_" if "singularity" in engine.rpartition("/")[2] else "APPTAINERENV_"
    inside = {**_variables(settings, port), "RCE_CACHE_DIR": CONTAINER_CACHE}
    return RunnerProgram(
        kind="native",
        command=(
            engine,
            "exec",
            "--containall",
            "--no-home",
            "--workdir",
            str(settings.home / "work"),
            "--bind",
            f"{settings.cache}:{CONTAINER_CACHE}",
            str(sif),
            "skills-rce",
        ),
        env={f"{prefix}{name}": value for name, value in inside.items()},
    )


def image_program(settings: RceSettings, port: int) -> RunnerProgram:
    """Run a container of the image that the configuration names. Its cache is gone with it."""
    return RunnerProgram(kind="image", image=settings.image, env=_variables(settings, port))


def _variables(settings: RceSettings, port: int) -> Mapping[str, str]:
    return {"RCE_PORT": str(port), "RCE_AUTH_TOKEN": settings.token}
