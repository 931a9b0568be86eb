"""What runs formations on this server: the runtimes, and what they are made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from muxi.containers.address import locate
from muxi.containers.engine import Engine
from muxi.containers.placement import ContainerPlacement
from muxi.environment.store import Environments
from muxi.images.library import library
from muxi.runtime.catalogue import Runtimes
from muxi.runtime.docker import Docker
from muxi.runtime.muxi_python import MuxiPython
from muxi.runtime.native import Native

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from muxi.config.model import Config
    from muxi.images.library import Library


@dataclass(frozen=True, slots=True)
class Outfit:
    """The runtimes, and the stores and engines that they share."""

    library: Library
    environments: Environments
    containers: ContainerPlacement
    runtimes: Runtimes


def outfit(config: Callable[[], Config], search_path: str, variables: Mapping[str, str]) -> Outfit:
    """Put it together; `config` is asked at each use, `variables` are the server's own environment."""
    paths = config().paths
    environments = Environments(
        paths.data_dir, paths.cache_dir, search_path, lambda: config().environments, variables
    )
    engine = Engine(partial(locate, config().runtime.engine.address, variables))
    containers = ContainerPlacement(
        engine,
        config().server_id,
        paths.data_dir / "containers",
        lambda: config().formations.usage_interval,
    )
    runtimes = (
        Native(search_path, environments),
        MuxiPython(
            environments,
            lambda: config().runtime,
            paths.cache_dir,
            telemetry=variables.get("MUXI_TELEMETRY") != "0",
        ),
        Docker(engine, containers, lambda: config().runtime),
    )
    return Outfit(library(config), environments, containers, Runtimes(runtimes, config().runtime.preferred))
