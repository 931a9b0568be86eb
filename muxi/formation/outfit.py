"""What runs formations on this server: the runtimes, and what they are made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from muxi.containers.address import locate
from muxi.containers.engine import Engine
from muxi.containers.leftovers import Leftovers
from muxi.containers.placement import ContainerPlacement
from muxi.environment.store import Environments
from muxi.images.library import library
from muxi.runtime.apptainer import Apptainer, Places
from muxi.runtime.catalogue import Runtimes
from muxi.runtime.confined import Confined
from muxi.runtime.docker import Docker
from muxi.runtime.host_tools import HostTools
from muxi.runtime.muxi_python import MuxiPython
from muxi.runtime.native import Native
from muxi.runtime.runner import Runner
from muxi.sandbox.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from muxi.config.model import Config
    from muxi.images.library import Library


@dataclass(frozen=True, slots=True)
class Outfit:
    """The runtimes, and the stores and engines that they share."""

    library: Library
    environments: Environments
    sandbox: Sandbox
    containers: ContainerPlacement
    runtimes: Runtimes


def outfit(config: Callable[[], Config], search_path: str, variables: Mapping[str, str]) -> Outfit:
    """Put it together; `config` is asked at each use, `variables` are the server's own environment."""
    paths = config().paths
    environments = Environments(
        paths.data_dir, paths.cache_dir, search_path, lambda: config().environments, variables
    )
    engine = Engine(partial(locate, config().runtime.engine.address, variables))
    leftovers = Leftovers(engine, config().server_id, paths.data_dir / "containers")
    containers = ContainerPlacement(engine, leftovers, lambda: config().formations.usage_interval)
    sandbox = Sandbox(
        lambda: config().formations,
        directory=paths.data_dir / "sandbox",
        private=(paths.config_dir, paths.data_dir, paths.log_dir, paths.cache_dir),
        search_path=search_path,
    )
    books = library(config)
    runtimes = (
        Confined(Native(search_path, environments), sandbox),
        Apptainer(
            books.store,
            HostTools(paths.data_dir / "apptainer" / "tools", search_path),
            Places(home=paths.data_dir / "apptainer", cache=paths.cache_dir),
            search_path,
            with_tools=lambda: config().runtime.host_tools,
        ),
        MuxiPython(environments, lambda: config().runtime, lambda: config().formations, paths.cache_dir),
        Docker(
            engine,
            containers,
            lambda: config().runtime,
            Runner(books.store, paths.cache_dir, lambda: config().runtime),
        ),
    )
    known = Runtimes(runtimes, lambda: config().runtime.preferred)
    return Outfit(books, environments, sandbox, containers, known)
