"""MUXI formations in the runtime's image, run by Apptainer, else by SingularityCE."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import trio

from muxi.errors import OperatorError, StorageError
from muxi.files import PRIVATE_DIRECTORY
from muxi.images.store import Resolved
from muxi.images.versions import parse
from muxi.runtime.apptainer_command import Container, Mount, command, environment, token_variables
from muxi.runtime.apptainer_engine import EngineFinder
from muxi.runtime.choice import APPTAINER
from muxi.runtime.host_tools import Tools
from muxi.runtime.models import MODEL_VARIABLES, model_binds
from muxi.runtime.pin import Pin
from muxi.runtime.process_spec import make_spec, own_variables, server_variables
from muxi.runtime.runtime import Prepared, Presence

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from muxi.images.shelf import Image
    from muxi.images.store import ImageStore
    from muxi.process.spec import ProcessSpec
    from muxi.runtime.apptainer_engine import Engine
    from muxi.runtime.host_tools import HostTools
    from muxi.runtime.program import Program
    from muxi.runtime.runtime import Report, Request, Surroundings

_SHA256: Final = "sha256:"
_CURE: Final = (
    "Install Apptainer (https://apptainer.org/docs/admin/main/installation.html), or choose another runtime."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """`home` holds the engine's own files and the containers' temporary ones; `cache` is the server's."""

    home: Path
    cache: Path


class Apptainer:
    """See `Runtime` for the contract."""

    name = APPTAINER

    def __init__(
        self,
        images: ImageStore,
        tools: HostTools,
        places: Places,
        search_path: str,
        *,
        with_tools: Callable[[], bool] = lambda: True,
    ) -> None:
        """`with_tools` says whether formations may use programs of this machine."""
        self._images = images
        self._tools = tools
        self._places = places
        self._finder = EngineFinder(search_path)
        self._with_tools = with_tools

    async def presence(self) -> Presence:
        engine = await self._finder.find()
        if isinstance(engine, str):
            return Presence(self.name, available=False, problem=engine, cure=_CURE)
        version = ".".join(map(str, engine.version))
        return Presence(self.name, available=True, version=version, detail=engine.program)

    def check(self, program: Program, release_dir: Path) -> None:
        """See `Runtime.check`."""
        del release_dir
        parse(program.muxi_runtime)
        own_variables(program, {})

    async def prepare(self, request: Request) -> Prepared:
        engine = await self._finder.find()
        if isinstance(engine, str):
            raise OperatorError(
                f"Apptainer can't be used: {engine}.",
                code="RuntimeUnavailable",
                status=503,
                stage="resolving_runtime",
                cure=_CURE,
            )
        resolved, image = await self._image(request)
        mounted = await self._make_ready()

        def spec(around: Surroundings) -> ProcessSpec:
            return self._spec(engine, image, mounted, request, around)

        return Prepared(
            pin=Pin(
                runtime=self.name,
                version=str(resolved),
                artifact=f"{_SHA256}{image.sha256}" if image.sha256 else "",
            ),
            description=f"MUXI runtime {resolved} on {engine}",
            spec=spec,
            models=self._places.cache,
        )

    async def _image(self, request: Request) -> tuple[Resolved, Image]:
        """Resolve which image, unless the release is pinned to one, and have it here. Raises MuxiError."""
        pin = request.pin
        if pin is not None:
            resolved, sha256 = Resolved.read(pin.version), pin.artifact.removeprefix(_SHA256) or None
        else:
            resolved, sha256 = await self._images.resolve(request.program.muxi_runtime), None
            _tell(request.report, resolved)
        image = await self._images.have(resolved.version, resolved.variant, request.report, sha256=sha256)
        return resolved, image

    async def _make_ready(self) -> Tools:
        """Have everything there that is mounted: models, and programs of this machine."""
        try:
            models = await trio.to_thread.run_sync(_make_directories, self._places)
            tools = await self._tools.find() if self._with_tools() else Tools()
            return replace(tools, mounts=(*models, *tools.mounts))
        except OSError as error:
            raise StorageError(
                f"The cache can't be written: {error.strerror} ({error.filename}).",
                stage="resolving_runtime",
                cure="Make the data and cache directories writable for the server, with room on their disk.",
            ) from error

    def _spec(
        self, engine: Engine, image: Image, mounted: Tools, request: Request, around: Surroundings
    ) -> ProcessSpec:
        program = request.program
        scratch = self._places.home / "scratch" / f"{around.process_id}.{around.port}"
        container = Container(
            image=image.path,
            variant=image.variant,
            release=request.release_dir,
            state=request.state_dir,
            scratch=scratch,
            mounts=mounted.mounts,
            path_first=mounted.path_first,
            env={
                "LANG": "C.UTF-8",
                "PYTHONUNBUFFERED": "1",
                "MUXI_ENV": "production",
                **MODEL_VARIABLES,
                **mounted.env,
                **own_variables(program, around.extra_env),
                **server_variables(program, around),
            },
        )
        spec = make_spec(
            program,
            around,
            argv=command(engine, container, around.host, around.port),
            cwd=request.release_dir,
            env=environment(engine, container, around.search_path, self._places.home),
        )
        return replace(spec, scratch=scratch, token_variables=token_variables(engine))


def _tell(report: Report, resolved: Resolved) -> None:
    report("resolving_runtime", f"MUXI runtime {resolved}: {resolved.reason}", version=resolved.version)


def _make_directories(places: Places) -> tuple[Mount, ...]:
    """Make what is mounted; return the mounts of models: those fetched within, and those that were here."""
    places.home.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    return tuple(Mount(source, target, writable=True) for source, target in model_binds(places.cache))
