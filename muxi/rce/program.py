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

    from muxi.rce.settings import RceSettings

HEALTH_PATH = "/health"


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
    health: HealthOptions = field(default_factory=lambda: HealthOptions(path=HEALTH_PATH))
    stop_timeout: float | None = None
    sandbox: bool | None = None


def command_program(settings: RceSettings, port: int) -> RunnerProgram:
    """Run a program of this machine, as the configuration names it."""
    env = {"RCE_PORT": str(port), "RCE_AUTH_TOKEN": settings.token, "RCE_CACHE_DIR": str(settings.cache)}
    return RunnerProgram(kind="native", command=settings.command, env=env)


def image_program(settings: RceSettings) -> RunnerProgram:
    """Run a container of the image that the configuration names, on the port that the image exposes.

    Its cache is gone with it: who may write what within, the image says.
    """
    return RunnerProgram(kind="image", image=settings.image, env={"RCE_AUTH_TOKEN": settings.token})
