"""What a formation's task works with: the server's shared parts, and where a formation's things lie."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from muxi.formation.dependencies import Board
from muxi.formation.drafts import Draft
from muxi.formation.history import History
from muxi.formation.outfit import outfit
from muxi.formation.releases import Releases, workspace
from muxi.formation.view import LogFiles
from muxi.process.confinement import Confiner
from muxi.process.health import HealthCheck, Liveness, Readiness, StartUp
from muxi.process.restart import RestartPolicy
from muxi.process.spawn import spawn
from muxi.telemetry.consent import objection
from muxi.telemetry.preferences import home_of, preferences_file, read_preferences

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import trio

    from muxi.config.model import Config
    from muxi.containers.placement import ContainerPlacement
    from muxi.environment.store import Environments
    from muxi.images.library import Library
    from muxi.process.handle import Handle
    from muxi.process.placement import Placement
    from muxi.process.spec import ProcessSpec
    from muxi.rce.sidecar import Sidecar
    from muxi.registry.ports import PortPool
    from muxi.registry.routes import RouteTable
    from muxi.registry.store import Registry
    from muxi.runtime.catalogue import Runtimes
    from muxi.sandbox.sandbox import Sandbox

Happening = Literal["crash", "restart", "failed check"]


def _not_counted(_happening: Happening) -> None:
    pass


DEFAULT_ENDPOINT = "/v1/health"
FALLBACK_ENDPOINT = "/health"


@dataclass(slots=True, eq=False)
class Facilities:
    """Shared by all formations' tasks; each of them changes only what is its formation's.

    `config` is another one after it was read again (`Fleet.configure`), so it is looked up at each use.

    `server_url` is what formations are told of us, `search_path` the PATH their programs are
    looked up on, `restoring` bounds how many are started at once when the server starts, `confiner`
    limits their processes and knows them all, `board` shows who is healthy to those that depend on it.
    `sidecar` is the code runner, which MUXI formations may use.
    `places` are where processes run that are no children of ours, by the names that records have.
    `log_problems` says, by id, why a formation's output can't be kept as it should. `happened` is
    told of each `Happening` with a formation's process, to count it. `variables` are the server's
    own environment, of which formations get nothing.
    """

    config: Config
    registry: Registry
    ports: PortPool
    routes: RouteTable
    server_url: str
    search_path: str
    restoring: trio.CapacityLimiter
    confiner: Confiner = field(default_factory=Confiner)
    sidecar: Sidecar | None = None
    log_problems: Mapping[str, str] = field(default_factory=dict)
    history: History = field(default_factory=History)
    happened: Callable[[Happening], None] = _not_counted
    board: Board = field(default_factory=Board)
    variables: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    library: Library = field(init=False)
    environments: Environments = field(init=False)
    runtimes: Runtimes = field(init=False)
    sandbox: Sandbox = field(init=False)
    containers: ContainerPlacement = field(init=False)
    places: Mapping[str, Placement] = field(init=False)

    def __post_init__(self) -> None:
        made = outfit(lambda: self.config, self.search_path, self.variables)
        self.library, self.environments, self.sandbox = made.library, made.environments, made.sandbox
        self.containers, self.runtimes = made.containers, made.runtimes
        self.places = {self.containers.name: self.containers}

    @property
    def formations_dir(self) -> Path:
        return self.config.formations.formations_dir

    @property
    def workspace(self) -> Path:
        """Where uploads and extractions go; on the file system of the releases."""
        return workspace(self.formations_dir)

    @property
    def dev_dir(self) -> Path:
        """Where development runs have their homes."""
        return self.config.paths.data_dir / "dev"

    def releases(self, formation_id: str) -> Releases:
        return Releases(self.formations_dir, formation_id, self.config.formations.keep_backups)

    def draft(self, formation_id: str) -> Draft:
        return Draft(self.releases(formation_id), self.workspace, self.config.formations.draft)

    def log_files(self, formation_id: str) -> LogFiles:
        directory = self.config.formations.logs_dir
        return LogFiles(directory / f"{formation_id}-out.log", directory / f"{formation_id}-err.log")

    def health_check(self) -> HealthCheck:
        """Return the server's defaults; a formation's manifest may say otherwise."""
        settings = self.config.formations
        starting, living = settings.deployment.health_check, settings.liveness
        paths = _paths(starting.endpoint)
        return HealthCheck(
            start_up=StartUp(
                paths=paths if starting.enabled else (),
                interval=starting.interval,
                timeout=settings.health_check_timeout,
                budget=starting.timeout,
            ),
            readiness=Readiness(
                paths=paths,
                interval=settings.health_check_interval,
                timeout=settings.health_check_timeout,
                threshold=settings.unhealthy_threshold,
            ),
            liveness=Liveness(
                paths=(living.endpoint,) if living.endpoint else (),
                interval=living.interval,
                timeout=living.timeout,
                threshold=living.threshold,
                grace=living.grace,
            ),
        )

    def objects_to_telemetry(self) -> bool:
        """Say whether somebody does, as for the server's own reports; formations are told so. Blocks."""
        file = preferences_file(home_of(self.variables))
        said = read_preferences(file)
        return objection(self.variables, self.config.telemetry, said, file) is not None

    async def spawn(self, spec: ProcessSpec, placement: Placement | None = None) -> Handle:
        """Start a process within its limits, here or elsewhere; raises what `Placement.start` does."""
        if placement is not None:
            return await placement.start(spec)
        return await spawn(spec, confiner=self.confiner)

    def restart_policy(self) -> RestartPolicy:
        settings = self.config.formations
        return RestartPolicy(
            auto_restart=settings.auto_restart,
            max_restarts=settings.max_restarts,
            delay=settings.restart_delay,
            max_delay=settings.max_restart_delay,
            window=settings.restart_window,
            reset_after=settings.restart_reset,
            loop_interval=settings.crash_loop_interval,
        )


def _paths(endpoint: str) -> tuple[str, ...]:
    if endpoint == DEFAULT_ENDPOINT:
        return (DEFAULT_ENDPOINT, FALLBACK_ENDPOINT)
    return (endpoint,)
