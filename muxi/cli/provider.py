"""The provisions of this machine: what formations need here depends on what runs them here."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import trio

from muxi.cli.provisions import Found, Provision, measure, unknown
from muxi.config.edit import edit_config
from muxi.config.save import write_config
from muxi.containers.address import locate
from muxi.containers.engine import Engine
from muxi.containers.images import Images, normal_name
from muxi.disk import disk_work
from muxi.formation.outfit import outfit
from muxi.images.library import library
from muxi.images.models import MODELS
from muxi.images.versions import LEAN
from muxi.runtime.choice import APPTAINER, AUTO, DOCKER, MUXI_PYTHON, MUXI_RUNTIMES
from muxi.runtime.program import HealthOptions
from muxi.runtime.runtime import Request
from muxi.runtime.wheel_version import installed_versions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from muxi.config.model import Config
    from muxi.formation.outfit import Outfit
    from muxi.images.library import Library
    from muxi.images.models import Model
    from muxi.images.report import Report
    from muxi.runtime.program import Kind
    from muxi.runtime.runtime import Presence

MB: Final = 1_000_000
QUICK_SECONDS: Final = 3.0
RUNTIME: Final = "runtime"
CODE_RUNNER: Final = "rce"


@dataclass(frozen=True, slots=True)
class _AnyFormation:
    """A MUXI formation that asks for nothing special."""

    id: str = "any"
    kind: Kind = "muxi"
    muxi_runtime: str | None = None
    python: str | None = None
    environment: bool = False
    image: str | None = None
    command: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    health: HealthOptions = field(default_factory=HealthOptions)
    stop_timeout: float | None = None
    sandbox: bool | None = None


class Provider:
    """What there is for one configuration."""

    def __init__(self, config: Config, variables: Mapping[str, str]) -> None:
        self._config = replace(config, runtime=replace(config.runtime, auto_download=True))
        self._variables = variables
        path = variables.get("PATH", os.defpath)
        self._outfit: Outfit = outfit(lambda: self._config, path, variables)
        quick = replace(
            config.download, connect_timeout=QUICK_SECONDS, first_byte_timeout=QUICK_SECONDS, retries=0
        )
        self._quick: Library = library(lambda: replace(self._config, download=quick))

    async def look(self) -> Found:
        """Say what is missing, and how big it is, within a few seconds. Raises StorageError."""
        presences = await self._outfit.runtimes.presences()
        engine = _engine(presences, self._config.runtime.preferred)
        if engine is None:
            return Found(problem=_why_none(presences, self._config.runtime.preferred))
        missing = [one for one in self.all(engine, presences) if not await one.present()]
        measured, silent = await measure(missing)
        return Found(engine, "", measured, silent)

    async def named(self, names: Sequence[str]) -> tuple[Provision, ...]:
        """Return those of these names that this machine has a use for, whether they are here or not."""
        presences = await self._outfit.runtimes.presences()
        known = self.all(_engine(presences, self._config.runtime.preferred) or MUXI_PYTHON, presences)
        return tuple(one for one in known if one.name in names)

    def all(self, engine: str, presences: Mapping[str, Presence]) -> tuple[Provision, ...]:
        """Return what can be had here for MUXI formations on that engine."""
        found = [self._runtime(engine)]
        runs_images = [name for name in (APPTAINER, DOCKER) if presences[name].available]
        if runs_images and not self._config.rce.command:
            found.append(self._code_runner(runs_images[0]))
        return (*found, *map(self._model, MODELS))

    def _runtime(self, engine: str) -> Provision:
        store, environments = self._outfit.library.store, self._outfit.environments

        async def image_here() -> bool:
            return any(image.variant == LEAN for image in await store.installed())

        async def package_here() -> bool:
            return bool(await trio.to_thread.run_sync(installed_versions, environments))

        package = engine == MUXI_PYTHON
        return Provision(
            RUNTIME,
            "MUXI runtime" + (" (a Python environment)" if package else " (an image)"),
            "runs formations that have agents",
            2_000 * MB if package else 1_500 * MB,
            package_here if package else image_here,
            unknown if package else self._quick.store.size,
            self._fetch_runtime,
        )

    async def _fetch_runtime(self, report: Report) -> None:
        """Do for the runtime that is chosen here all that a deploy would."""
        with disk_work("make a temporary directory"), TemporaryDirectory() as name:
            nothing = Path(name)
            program = _AnyFormation()
            await self._outfit.runtimes.prepare(
                Request(program=program, release_dir=nothing, state_dir=nothing, report=report)
            )

    def _code_runner(self, engine: str) -> Provision:
        images = self._outfit.library.rce
        containers = Images(Engine(partial(locate, self._config.runtime.engine.address, self._variables)))
        container = normal_name(self._config.rce.image)

        async def file_here() -> bool:
            return bool(self._config.rce.auth_token) and await images.installed() is not None

        async def container_here() -> bool:
            return bool(self._config.rce.auth_token) and await containers.find(container) is not None

        async def fetch(report: Report) -> None:
            if engine == APPTAINER:
                await images.ensure(report)
            else:
                await containers.ensure(container, pull="missing", tell=report)
            with disk_work(f"write {self._config.paths.config_file}"):
                await trio.to_thread.run_sync(self._enable_code_runner)

        return Provision(
            CODE_RUNNER,
            "Code runner",
            "runs the code of agents' skills, apart from this machine",
            400 * MB,
            file_here if engine == APPTAINER else container_here,
            self._quick.rce.size if engine == APPTAINER else unknown,
            fetch,
        )

    def _enable_code_runner(self) -> None:
        """Give it a token, without which it is not started. Blocks."""
        file = self._config.paths.config_file
        if not self._config.rce.auth_token and file.exists():
            token = f"rce_{secrets.token_hex(32)}"
            write_config(file, edit_config(file.read_text("utf-8"), {"rce.auth_token": token}))

    def _model(self, model: Model) -> Provision:
        cache = self._outfit.library.models

        async def here() -> bool:
            return not await cache.missing(model)

        async def fetch(report: Report) -> None:
            await cache.install(model, report)

        lean = model.name == "lean"
        return Provision(
            model.name,
            f"Embedding model {model.repository}",
            "finds what agents remember" + ("" if lean else ", in many languages"),
            550 * MB if lean else 140 * MB,
            here,
            partial(self._quick.models.size, model),
            fetch,
            wanted=lean,
        )


def _engine(presences: Mapping[str, Presence], preferred: str) -> str | None:
    """Return what would run a MUXI formation here: see `muxi.runtime.choice`."""
    names = MUXI_RUNTIMES if preferred == AUTO else (preferred,)
    return next((name for name in names if name in presences and presences[name].available), None)


def _why_none(presences: Mapping[str, Presence], preferred: str) -> str:
    names = MUXI_RUNTIMES if preferred == AUTO else (preferred,)
    return "; ".join(f"{name}: {presences[name].problem}" for name in names if name in presences)
