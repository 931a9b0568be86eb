"""MUXI formations in containers: the runtime's SIF image, run by a runner of such images inside one.

The way for systems that are not Linux, and by choice on it. The runner makes its container in a
user namespace, with the image's file system mounted by FUSE; what that needs, and no more, is given
to the container it runs in (`muxi.containers.body`). Variables reach the formation through both
containers and stand on no command line. The release can be written to, because the runtime keeps
its key beside the manifest.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import trio

from muxi.containers.images import Images, normal_name, pinned_name
from muxi.containers.spec import Mount
from muxi.errors import StorageError
from muxi.runtime.container_spec import ALL_ADDRESSES, RELEASE, STATE, container_spec
from muxi.runtime.models import MODEL_VARIABLES, MODELS, model_binds
from muxi.runtime.pin import Pin
from muxi.runtime.runtime import Prepared

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from muxi.config.engine import EngineConfig
    from muxi.config.runtime import RuntimeConfig
    from muxi.containers.engine import Engine
    from muxi.containers.placement import ContainerPlacement
    from muxi.containers.spec import ContainerSpec, Privileges
    from muxi.runtime.runtime import Report, Request, Surroundings

SIF: Final = "/sif/runtime.sif"
TOOLS: Final = "/opt/muxi-tools"
"""Where the runner's own image keeps the tools that formations may use."""


class SifVersion(Protocol):
    """An exact version of the runtime. Both as text: `1.2.3`, `lean`."""

    @property
    def version(self) -> object: ...
    @property
    def variant(self) -> str: ...


class SifStore(Protocol):
    """The runtime's images on this machine, and the mirror that they come from."""

    async def resolve(self, wanted: str | None) -> SifVersion:
        """Say which exact version a manifest's `muxi_runtime` means now. Raises MuxiError."""

    async def ensure(self, version: str, variant: str, report: Report) -> Path:
        """Have that image at hand, and return its file. Raises MuxiError."""


class Runner:
    """Prepares MUXI formations to run in containers. `cache` is the server's."""

    name = "docker"

    def __init__(self, store: SifStore, cache: Path, config: Callable[[], RuntimeConfig]) -> None:
        self._store = store
        self._cache = cache
        self._config = config

    async def prepare(self, request: Request, engine: Engine, placement: ContainerPlacement) -> Prepared:
        """See `Runtime.prepare`. With a pin the image's file only has to be there."""
        pin = request.pin or await self._resolve(request)
        version, _, variant = pin.version.partition(":")
        sif = await self._store.ensure(version, variant or "lean", request.report)
        if request.pin is None:
            pin = await self._with_runner(pin, request, engine, platform_of(sif))
        models = await trio.to_thread.run_sync(_models, self._cache)
        return Prepared(
            pin=pin,
            description=f"MUXI runtime {pin.version} in a container",
            spec=partial(runner_spec, request, pin=pin, sif=sif, models=models, engine=self._config().engine),
            placement=placement,
            models=self._cache,
        )

    async def _resolve(self, request: Request) -> Pin:
        found = await self._store.resolve(request.program.muxi_runtime)
        version = str(found.version)
        full = version if found.variant == "lean" else f"{version}:{found.variant}"
        return Pin(runtime=self.name, version=full)

    async def _with_runner(self, pin: Pin, request: Request, engine: Engine, platform: str) -> Pin:
        config = self._config()
        image = normal_name(config.runtime_runner_image)
        facts = await Images(engine).ensure(
            image,
            pull=config.engine.pull if config.auto_download else "never",
            tell=request.report,
            stage="pulling_runner",
            platform=platform,
        )
        return Pin(runtime=pin.runtime, version=pin.version, artifact=pinned_name(image, facts))


def platform_of(sif: Path) -> str:
    """Return the platform that a file is for, as its name says: `muxi-runtime-1.2.3-linux-arm64.sif`."""
    return f"linux/{sif.stem.rpartition('-')[2]}"


def runner_spec(
    request: Request,
    around: Surroundings,
    *,
    pin: Pin,
    sif: Path,
    models: tuple[Mount, ...],
    engine: EngineConfig,
) -> ContainerSpec:
    """Make the specification of the outer container. Pure."""
    cuda = pin.version.endswith(":cuda")
    privileges: Privileges = "privileged" if engine.runner_privileges == "privileged" else "namespaces"
    return container_spec(
        request.program,
        around,
        argv=runner_arguments(around.port, cuda=cuda, namespaces=privileges == "namespaces"),
        image=pin.artifact,
        mounts=(
            Mount(request.release_dir, RELEASE, read_only=False),
            Mount(request.state_dir, STATE, read_only=False),
            Mount(sif, SIF),
            *models,
        ),
        env=MODEL_VARIABLES,
        inner_port=around.port,
        network=engine.network,
        platform=platform_of(sif),
        gpus=cuda,
        privileges=privileges,
    )


def runner_arguments(port: int, *, cuda: bool, namespaces: bool) -> tuple[str, ...]:
    """Return what the runner, the image's entrypoint, is told."""
    binds = (RELEASE, STATE, "/tmp", MODELS, f"{TOOLS}:{TOOLS}")  # noqa: S108 - the container's own
    return (
        "exec",
        *(("--userns",) if namespaces else ()),
        *(("--nv",) if cuda else ()),
        *(word for bind in binds for word in ("--bind", bind)),
        SIF,
        *("python", "-m", "muxi.runtime.utils.run_formation"),
        *(RELEASE, "--port", str(port), "--host", ALL_ADDRESSES),
    )


def _models(cache: Path) -> tuple[Mount, ...]:
    try:
        return tuple(Mount(source, target, read_only=False) for source, target in model_binds(cache))
    except OSError as error:
        raise StorageError(
            f"The directory of models in {cache} can't be made: {error.strerror}.",
            stage="resolving_runtime",
            cure="Make the cache directory writable for the server (MUXI_CACHE_DIR).",
        ) from error
