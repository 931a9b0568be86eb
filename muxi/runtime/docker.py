"""Formations as containers of Docker or Podman: of an image of their own, or of the MUXI runtime's.

An image of its own (`image:` in the manifest) is run as it is. The release is seen at /formation,
read only, and the state at /state: there the links of the release to it resolve, which say
`../../state/`. How MUXI formations run is in `muxi.runtime.runner`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from muxi.containers.failures import EngineRefused, EngineUnavailable
from muxi.containers.images import Images, normal_name, pinned_name
from muxi.containers.spec import Mount
from muxi.errors import RequestError
from muxi.runtime.container_spec import RELEASE, STATE, container_spec
from muxi.runtime.pin import Pin
from muxi.runtime.process_spec import own_variables
from muxi.runtime.runtime import Prepared, Presence

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from muxi.config.runtime import RuntimeConfig
    from muxi.containers.engine import Engine
    from muxi.containers.placement import ContainerPlacement
    from muxi.containers.spec import ContainerSpec
    from muxi.runtime.program import Program
    from muxi.runtime.runner import Runner
    from muxi.runtime.runtime import Request, Surroundings

PRESENCE_SECONDS: Final = 5.0
"""More than an engine takes on a machine under load: one that answers late is there all the same."""


class Docker:
    """Formations as containers. Used by many formations' tasks at once."""

    name = "docker"

    def __init__(
        self,
        engine: Engine,
        placement: ContainerPlacement,
        config: Callable[[], RuntimeConfig],
        runner: Runner | None = None,
    ) -> None:
        """`config` is asked at each use. Without a `runner` it runs images only."""
        self._engine = engine
        self._placement = placement
        self._config = config
        self._runner = runner

    async def presence(self) -> Presence:
        try:
            address, found = await self._engine.version(PRESENCE_SECONDS)
        except (EngineUnavailable, EngineRefused) as error:
            return Presence(
                self.name, available=False, problem=error.message.rstrip("."), cure=error.cure or ""
            )
        return Presence(self.name, available=True, version=found.version, detail=str(address))

    def check(self, program: Program, release_dir: Path) -> None:  # noqa: ARG002 - the contract's
        own_variables(program, {})
        if program.kind == "image":
            normal_name(program.image or "")

    async def prepare(self, request: Request) -> Prepared:
        """See `Runtime.prepare`. With a pin the engine is not even asked: it may be on its way up."""
        self.check(request.program, request.release_dir)
        if request.program.kind != "image":
            if self._runner is None:
                raise _no_runner(request.program)
            return await self._runner.prepare(request, self._engine, self._placement)
        pin = request.pin or await self._resolve(request)
        as_server = self._config().engine.user == "server"
        return Prepared(
            pin=pin,
            description=f"container of {pin.version}",
            spec=partial(
                image_spec,
                request,
                image=pin.artifact,
                network=self._config().engine.network,
                as_server=as_server,
            ),
            placement=self._placement,
        )

    async def _resolve(self, request: Request) -> Pin:
        config = self._config()
        image = normal_name(request.program.image or "")
        facts = await Images(self._engine).ensure(
            image, pull=config.engine.pull if config.auto_download else "never", tell=request.report
        )
        return Pin(runtime=self.name, version=image, artifact=pinned_name(image, facts))


def image_spec(
    request: Request, around: Surroundings, *, image: str, network: str, as_server: bool
) -> ContainerSpec:
    """Make the specification of a container of an image of the formation's own. Pure.

    A `command` is given to the image's entrypoint, and run where the bundle is.
    """
    command = request.program.command
    return container_spec(
        request.program,
        around,
        argv=command or (),
        image=image,
        mounts=(Mount(request.release_dir, RELEASE), Mount(request.state_dir, STATE, read_only=False)),
        workdir=RELEASE if command else None,
        network=network,
        as_server=as_server,
    )


def _no_runner(program: Program) -> RequestError:
    return RequestError(
        f"'{program.id}' needs the MUXI runtime, and this server has no image of it for containers.",
        code="RuntimeUnavailable",
        status=501,
        stage="resolving_runtime",
        cure="Give the formation an `image`, or a `command` and no `muxi_runtime`, `agents` or `llm`.",
    )
