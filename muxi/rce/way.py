"""In which way the code runner is run here: as a program, from an image file, or in a container. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muxi.errors import OperatorError

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.rce.settings import RceSettings
    from muxi.runtime.apptainer_engine import Engine
    from muxi.runtime.runtime import Presence


@dataclass(frozen=True, slots=True)
class Way:
    """With an `engine`, from an image file, which is `sif` once it is here; else as the settings say."""

    settings: RceSettings
    engine: Engine | None = None
    sif: Path | None = None

    @property
    def description(self) -> str:
        """Say it for people."""
        if self.engine is not None:
            return f"{'its image' if self.sif is None else self.sif.name} on {self.engine}"
        if self.settings.command:
            return f"program {self.settings.command[0]}"
        return f"container of {self.settings.image}"


def choose_way(
    settings: RceSettings,
    engine: Engine | str,
    sif: Path | None,
    docker: Presence | None,
    *,
    may_download: bool,
) -> Way:
    """Choose: the program that the configuration names, else an image file, else a container.

    `engine` is what runs image files, or in words why there is none. Raises OperatorError (503,
    RceUnavailable) when no way can be gone.
    """
    if settings.command:
        return Way(settings)
    if not isinstance(engine, str) and (sif is not None or may_download):
        return Way(settings, engine, sif)
    if docker is not None and docker.available:
        return Way(settings)
    files = engine if isinstance(engine, str) else f"there is none in {settings.home}"
    containers = "no engine is known" if docker is None else docker.problem.removesuffix(".")
    raise OperatorError(
        "The code runner can't be run here: rce.command names no program. "
        f"Image files: {files}. Containers: {containers}.",
        code="RceUnavailable",
        status=503,
        cure="Install Apptainer or Docker, or name a program in rce.command; or leave rce.auth_token empty.",
    )
