"""The composition: builds the parts of the server, and runs them as one tree of tasks.

    server nursery
      audit log, registry writer, log keeper, meter of what formations use
      fleet ─ one owner a formation ─ its instance
      code runner, where there is to be one ─ its instance
      listener ─ one task a connection
      workers, where there are to be any ─ one task a process

The port answers as soon as it is known which formations there are, not when they are back: one
that is slow keeps nobody out. At the end it is closed first, so that nothing new comes to what
is going away.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from muxi import __version__
from muxi.api.app import create_app
from muxi.api.audit import AuditLog
from muxi.api.parts import ApiParts, ApiSettings
from muxi.auth.keyring import Keyring
from muxi.config.values import format_size
from muxi.errors import MuxiError
from muxi.formation import versions
from muxi.formation.dev import DevRuns
from muxi.formation.facilities import Facilities
from muxi.formation.fleet import Fleet
from muxi.formation.releases import sweep
from muxi.formation.takeover import take_over
from muxi.process.log_keeper import LogKeeper
from muxi.process.log_rotation import LogLimits
from muxi.process.meter import Meter
from muxi.proxy.handover import Handover
from muxi.proxy.listener import Listener
from muxi.proxy.trust import Trust
from muxi.rce.record import NAME as RUNNER
from muxi.rce.record import load_record
from muxi.rce.settings import RceSettings
from muxi.registry import store
from muxi.registry.ports import PortPool
from muxi.registry.receipts import NAME as RECEIPTS
from muxi.registry.receipts import load_receipts
from muxi.registry.routes import RouteTable
from muxi.server.check import load_certificates
from muxi.server.counting import Counting
from muxi.server.sidecar import make_sidecar
from muxi.server.workers import limits, make_crew, processes, worker_settings
from muxi.telemetry.sdk_releases import SdkReleases

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from muxi.config.model import Config
    from muxi.formation.operation import Operation
    from muxi.process.confinement import Confiner
    from muxi.proxy.certificates import Certificates
    from muxi.rce.record import RecordFile
    from muxi.registry.receipts import Receipts
    from muxi.server.history import History

log = structlog.get_logger()


class Server:
    """The parts, made for each other. `run` runs them; others tell them what to do."""

    def __init__(
        self,
        config: Config,
        sockets: Sequence[socket.socket],
        registry: store.Registry,
        certificates: Certificates | None,
        *,
        receipts: Receipts,
        history: History,
        confiner: Confiner,
        runner: RecordFile,
    ) -> None:
        """Take listening sockets, which stay the caller's, and what has been read from the disk."""
        self.config = config
        self.registry = registry
        self.receipts = receipts
        self.routes = RouteTable()
        self.audit = AuditLog(config.logging.audit_log)
        self._confiner = confiner
        self._log_keeper = LogKeeper(config.formations.logs_dir, _log_limits(config))
        self._sockets = sockets
        self._certificates = certificates
        facilities = self._facilities()
        self._containers = facilities.containers
        self._containers.on_soft_limit = self._recycle
        self.sidecar = facilities.sidecar = make_sidecar(facilities, runner)
        self.fleet = Fleet(facilities)
        self.dev = DevRuns(facilities)
        self._counting = Counting(facilities, self.fleet, history.started_at)
        self._api = self._api_parts(history, facilities)
        self._sdk_releases = SdkReleases(self._sdk_source, os.environ, self._tell_workers)
        self.listener = Listener(
            self.routes,
            Handover(create_app(self._api)),
            version=__version__,
            limits=limits(config),
            trusts=Trust(config.server.trusted_proxies),
            proxy_protocol=config.server.proxy_protocol == "required",
            certificates=certificates,
            processes=processes(config),
            latest=self._sdk_releases.latest,
        )
        self._crew = make_crew(
            config,
            self.listener,
            self.routes,
            self._sdk_releases.known if self._sdk_releases.source else None,
        )
        self._returning: Sequence[Operation] = ()

    @classmethod
    async def load(
        cls,
        config: Config,
        sockets: Sequence[socket.socket],
        certificates: Certificates | None,
        *,
        history: History,
        confiner: Confiner,
    ) -> Server:
        """Make one of what is on the disk. Raises OperatorError when that can't be read."""
        path, workspace = config.paths.data_dir / store.NAME, config.formations.formations_dir / ".tmp"
        # A disk that hangs must not keep a second signal from ending the start.
        in_thread = partial(trio.to_thread.run_sync, abandon_on_cancel=True)
        await in_thread(take_over, config.formations.formations_dir, path)
        registry = await in_thread(store.load, path)
        runner = await in_thread(load_record, config.paths.data_dir / RUNNER)
        for pid in (*registry.processes(), *runner.processes()):
            confiner.expect(pid)
        await in_thread(sweep, workspace)
        receipts = await in_thread(load_receipts, config.paths.data_dir / RECEIPTS)
        committed = partial(versions.receipts, config.formations.formations_dir, registry.receipts)
        receipts.complete(await in_thread(committed), time.time())
        return cls(
            config,
            sockets,
            registry,
            certificates,
            receipts=receipts,
            history=history,
            confiner=confiner,
            runner=runner,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run all parts until cancelled. Started once the port answers and formations are being restored.

        Cancelling it kills all formations' processes that have not been let go, at once.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self.audit.run)
            nursery.start_soon(self.registry.run)
            nursery.start_soon(self.receipts.run)
            await nursery.start(self.fleet.run)
            await nursery.start(self.dev.hold)
            await nursery.start(self.sidecar.run)  # formations are told where it is
            await nursery.start(self._log_keeper.run)
            nursery.start_soon(self._meter().run)
            nursery.start_soon(_aside, self._counting.reporter.run)
            nursery.start_soon(_aside, self._sdk_releases.run)
            # It only begins to; but from then on each formation has a route, where requests wait.
            self._returning = await self.fleet.restore()
            nursery.start_soon(self._containers.tidy)
            await nursery.start(self.listener.serve, self._sockets)
            if self._crew is not None:
                nursery.start_soon(self._crew.run)
            log.info("listening", url=self.url, version=__version__, pid=os.getpid())
            task_status.started()

    @property
    def url(self) -> str:
        host = self.config.server.host
        host = "localhost" if host in {"0.0.0.0", "::", ""} else host  # noqa: S104
        return f"{_scheme(self.config)}://{host}:{self._port}"

    def _meter(self) -> Meter:
        interval = self.config.formations.usage_interval
        return Meter(self._confiner, interval, on_soft_limit=self._recycle)

    def _recycle(self, formation_id: str, memory: int) -> bool:
        """Renew what is past its soft limit on memory; False: not now."""
        try:
            self.fleet.recycle(formation_id, f"{format_size(memory)} resident, past its soft limit")
        except MuxiError as error:
            log.info("not recycled", formation_id=formation_id, reason=error.message)
            return False
        return True

    async def configure(self, config: Config) -> None:
        """Go by another configuration. Raises OperatorError, and has changed nothing then."""
        certificates = await trio.to_thread.run_sync(load_certificates, config)
        if self._certificates is not None and certificates is not None:
            self._certificates.take(certificates)
        self.config = config
        self.fleet.configure(config)
        self.sidecar.configure(RceSettings.of(config))
        self._log_keeper.limits = _log_limits(config)
        self._api.authenticator, self._api.settings = self._authentication(config)
        self.listener.configure(
            limits(config),
            Trust(config.server.trusted_proxies),
            proxy_protocol=config.server.proxy_protocol == "required",
        )
        self._tell_workers(self._sdk_releases.known)

    async def last_report(self) -> None:
        """Send what has been counted, if that is wanted: for a server that ends. Takes a second at most."""
        await self._counting.reporter.close()

    async def detach(self, budget: float) -> None:
        """Let formations go, so that they run on without this program, for another one to adopt.

        What is under way with them has `budget` seconds to end. Raises StorageError when it can't be
        written down which they are: then none has been let go.
        """
        await self.fleet.detach(budget)
        await self.dev.shut_down()
        await self.sidecar.detach()

    async def end_formations(self) -> None:
        """End all processes, in parallel, each with its own deadline."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.dev.shut_down)
            await self.fleet.shut_down()
        await self.sidecar.shut_down()  # formations may use it to their end

    def _unready(self) -> str:
        if self.fleet.closing:
            return "the server ends"
        left = sum(not operation.ended for operation in self._returning)
        return f"{left} of {len(self._returning)} formations are still to come back" if left else ""

    def _sdk_source(self) -> str | None:
        settings = self.config.updates
        return settings.sdk_version_url if settings.sdk_notices else None

    def _tell_workers(self, sdk_releases: Mapping[str, str]) -> None:
        """Have workers go by the configuration, and by what is known of SDKs."""
        if self._crew is not None:
            known = sdk_releases if self._sdk_releases.source else None
            self._crew.configure(worker_settings(self.config, known))

    @property
    def _port(self) -> int:
        port: int = self._sockets[0].getsockname()[1]
        return port

    def _facilities(self) -> Facilities:
        start, end = self.config.formations.port_range
        return Facilities(
            config=self.config,
            registry=self.registry,
            ports=PortPool(start, end),
            routes=self.routes,
            server_url=f"{_scheme(self.config)}://localhost:{self._port}",
            search_path=os.environ.get("PATH", os.defpath),
            restoring=trio.CapacityLimiter(max(4, 2 * (os.cpu_count() or 1))),
            confiner=self._confiner,
            log_problems=self._log_keeper.problems,
        )

    def _api_parts(self, history: History, facilities: Facilities) -> ApiParts:
        authenticator, settings = self._authentication(self.config)
        return ApiParts(
            fleet=self.fleet,
            dev=self.dev,
            authenticator=authenticator,
            settings=settings,
            facilities=facilities,
            audit=self.audit,
            receipts=self.receipts,
            version=__version__,
            started_at=history.started_at,
            code_runner=self.sidecar.status,
            unready=self._unready,
            # The listener needs the app, the app asks the listener: later, when both are there.
            proxy_status=lambda: self.listener.status(),  # noqa: PLW0108
            program_status=history.status,
            limits_in_force=self._confiner.in_force,
            sandbox_in_force=facilities.sandbox.in_force,
            telemetry_standing=self._counting.standing,
            count_use=self._counting.used,
        )

    def _authentication(self, config: Config) -> tuple[Keyring | None, ApiSettings]:
        keyring = Keyring(config.auth.keys, config.auth.timestamp_tolerance)
        settings = ApiSettings(
            server_id=config.server_id,
            metrics=config.metrics,
            port=self._port,
            runtime_type=config.formations.runtime_type,
            upload_directory=config.formations.formations_dir / ".tmp",
            max_upload_size=config.formations.bundle.max_upload_size,
            allow_dev=config.formations.allow_dev,
            allow_dev_remote=config.formations.allow_dev_remote,
            known_keys=frozenset(keyring.key_ids),
        )
        return keyring if config.auth.enabled else None, settings


def _log_limits(config: Config) -> LogLimits | None:
    """Return what formations' logs are kept within; None: they are not rotated."""
    settings = config.formations
    if not settings.log_rotation_enabled:
        return None
    return LogLimits(settings.log_max_size, settings.log_max_files, settings.log_max_total)


async def _aside(work: Callable[[], Awaitable[None]]) -> None:
    """Run what the server can do without: a defect in it ends only that."""
    try:
        await work()
    except Exception:
        log.exception("the server goes on without a part")


def _scheme(config: Config) -> str:
    return "http" if config.server.tls.cert is None else "https"
