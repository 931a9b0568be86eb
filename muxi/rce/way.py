"""In which way the code runner can be run here: a program, an image file, or a container."""

from __future__ import annotations

import platform
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from muxi.errors import OperatorError
from muxi.rce.program import command_program, image_program, sif_program
from muxi.runtime.choice import DOCKER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from muxi.rce.program import RunnerProgram
    from muxi.rce.settings import RceSettings
    from muxi.runtime.runtime import Presence

ENGINES: Final = ("apptainer", "singularity")
MACHINES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

_SIF = re.compile(r"skills-rce-(\d+(?:\.\d+)*)-linux-(\w+)\.sif", re.ASCII)


@dataclass(frozen=True, slots=True)
class Findings:
    """What there is on this machine: an engine for image files, and the newest of those."""

    engine: str | None
    sif: Path | None


@dataclass(frozen=True, slots=True)
class Way:
    """`description` says it in words, for people."""

    description: str
    settings: RceSettings
    engine: str | None = None
    sif: Path | None = None

    def program(self, port: int) -> RunnerProgram:
        if self.settings.command:
            return command_program(self.settings, port)
        if self.engine is not None and self.sif is not None:
            return sif_program(self.settings, port, self.engine, self.sif)
        return image_program(self.settings, port)


def look(settings: RceSettings, search_path: str) -> Findings:
    """Look for image files and what runs them. Blocks; raises nothing."""
    found = (shutil.which(name, path=search_path) for name in ENGINES)
    machine = MACHINES.get(platform.machine().lower(), "")
    names = [path.name for path in settings.home.glob("skills-rce-*.sif")]
    newest = newest_sif(names, machine)
    return Findings(next(filter(None, found), None), None if newest is None else settings.home / newest)


def newest_sif(names: Iterable[str], machine: str) -> str | None:
    """Return the image file with the highest version for this kind of machine: .10 is above .2."""
    matches = [match for match in map(_SIF.fullmatch, names) if match is not None and match[2] == machine]
    return max(matches, key=lambda match: tuple(map(int, match[1].split("."))))[0] if matches else None


def choose_way(settings: RceSettings, found: Findings, presences: Mapping[str, Presence]) -> Way:
    """Choose: the program that the configuration names, else an image file, else a container. Pure.

    Raises OperatorError (503, RceUnavailable) when none of them can be had.
    """
    if settings.command:
        return Way(f"program {settings.command[0]}", settings)
    if found.sif is not None and found.engine is not None:
        return Way(f"image file {found.sif.name}", settings, found.engine, found.sif)
    docker = presences.get(DOCKER)
    if docker is not None and docker.available:
        return Way(f"container of {settings.image}", settings)
    missing = (
        f"there is no image file in {settings.home}"
        if found.sif is None
        else f"neither {' nor '.join(ENGINES)} is there to run {found.sif.name}"
    )
    engine = "no container engine is known" if docker is None else docker.problem or "docker can't be used"
    raise OperatorError(
        f"The code runner can't be run here: rce.command names no program, {missing}, and {engine}.",
        code="RceUnavailable",
        status=503,
        cure="Install its image, or Docker, or name a program in rce.command; or leave rce.auth_token empty.",
    )
