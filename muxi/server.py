"""The composition: builds the parts of the server, and runs them as one tree of tasks.

    server nursery
      audit log, writers of registry and receipts
      fleet ─ one owner a formation ─ its instance
      development runs
      listener ─ one task a connection

The tree starts from the top and ends from the bottom: the port answers while formations are
restored, so that one that is slow keeps nobody out; and it is closed first at the end, so that
nothing new comes to what is going away.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import structlog
import trio

from muxi import __version__
from muxi.api.app import create_app
from muxi.api.audit import AuditLog
from muxi.api.parts import ApiParts, ApiSettings
from muxi.auth.keyring import Keyring
from muxi.errors import StorageError
from muxi.files import PRIVATE_DIRECTORY
from muxi.formation.dev import DevRuns
from muxi.formation.disk import storage_error
from muxi.formation.facilities import Facilities
from muxi.formation.fleet import Fleet
from muxi.formation.releases import sweep
from muxi.formation.takeover import take_over
from muxi.observe.logging import configure_logging
from muxi.proxy.certificates import Certificates
from muxi.proxy.limits import Limits
from muxi.proxy.listener import Listener
from muxi.proxy.sockets import open_listeners, raise_descriptor_limit
from muxi.proxy.trust import Trust
from muxi.registry import store
from muxi.registry.lock import exclusive
from muxi.registry.ports import PortPool
from muxi.registry.receipts import NAME, load_receipts
from muxi.registry.routes import RouteTable

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from muxi.config.model import Config
    from muxi.registry.receipts import Receipts

log = structlog.get_logger()

DRAIN_SECONDS = 5.0
"""How long requests in flight may go on once the server ends."""
FLUSH_SECONDS = 5.0
"""How long the last write of the registry may take."""
SHUTDOWN_SECONDS = 60.0
"""The budget of the whole shutdown; what still runs after it is killed."""


def run(config: Config, *, notes: Sequence[str] = ()) -> int:
    """Run the server until SIGINT or SIGTERM; a second one ends it at once. Returns the exit code.

    `notes` are remarks on the configuration, for the log. Raises OperatorError when the port is
    taken, the disk refuses, or another server uses the data directory.
    """
    logs = configure_logging(
        config.logging.level,
        "json" if config.logging.format == "json" else "text",
        config.logging.output,
    )
    try:
        prepare_directories(config)
        raise_descriptor_limit()
        with exclusive(config.paths.data_dir):
            certificates = load_certificates(config)
            sockets = open_listeners(config.server.host, config.server.port)
            try:
                for note in notes:
                    log.warning("configuration", note=note)
                return trio.run(_until_signalled, config, sockets, certificates)
            finally:
                for sock in sockets:
                    sock.close()
    finally:
        logs.close()


async def serve(
    config: Config,
    sockets: Sequence[socket.socket],
    stop: trio.Event,
    *,
    certificates: Certificates | None = None,
    task_status: trio.TaskStatus[Fleet] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve on the listening sockets until `stop` is set, then shut down in good order.

    Started once the port answers and formations are being restored. Cancelling it kills all
    formations' processes at once; nothing of them is left behind.
    """
    registry_file = config.paths.data_dir / "registry.json"
    await trio.to_thread.run_sync(take_over, config.formations.formations_dir, registry_file)
    registry = await trio.to_thread.run_sync(store.load, registry_file)
    await trio.to_thread.run_sync(sweep, config.formations.formations_dir / ".tmp")
    receipts = await trio.to_thread.run_sync(load_receipts, config.paths.data_dir / NAME)
    routes = RouteTable()
    audit = AuditLog(config.logging.audit_log)
    keyring = Keyring(config.auth.keys, config.auth.timestamp_tolerance)
    facilities = _facilities(config, sockets, registry, routes)
    fleet, dev = Fleet(facilities), DevRuns(facilities)
    listener = Listener(
        routes,
        create_app(
            ApiParts(
                fleet=fleet,
                dev=dev,
                authenticator=keyring if config.auth.enabled else None,
                settings=_api_settings(config, _port(sockets), keyring),
                facilities=facilities,
                audit=audit,
                receipts=receipts,
                version=__version__,
                started_at=time.time(),
                # The app needs the listener's status, the listener needs the app.
                proxy_status=lambda: listener.status(),  # noqa: PLW0108
            )
        ),
        version=__version__,
        limits=_limits(config),
        trusts=Trust(config.server.trusted_proxies),
        proxy_protocol=config.server.proxy_protocol == "required",
        certificates=certificates,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(audit.run)
        nursery.start_soon(registry.run)
        nursery.start_soon(receipts.run)
        await nursery.start(fleet.run)
        await nursery.start(dev.hold)
        # Begun, not awaited; a request that comes at once finds its formation known, and waits.
        await fleet.restore()
        await nursery.start(listener.serve, sockets)
        log.info("listening", url=_url(config, sockets), version=__version__, pid=os.getpid())
        task_status.started(fleet)
        await stop.wait()
        with trio.move_on_after(SHUTDOWN_SECONDS):
            await _shut_down(listener, fleet, dev, registry, receipts)
        nursery.cancel_scope.cancel()


def prepare_directories(config: Config) -> None:
    """Make the directories that the server writes in. Raises StorageError."""
    directories = (
        config.paths.data_dir,
        config.paths.cache_dir,
        config.formations.formations_dir,
        config.formations.logs_dir,
        config.logging.audit_log.parent,
    )
    try:
        for directory in directories:
            directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, f"make the directory {error.filename}") from error


def load_certificates(config: Config) -> Certificates | None:
    """Load what `server.tls` names; None where it names nothing. Raises OperatorError."""
    tls = config.server.tls
    return None if tls.cert is None else Certificates(tls.cert, tls.key, tls.min_version)


async def _until_signalled(
    config: Config, sockets: Sequence[socket.socket], certificates: Certificates | None
) -> int:
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_serve_and_end, nursery, config, sockets, stop, certificates)
            async for number in signals:
                if stop.is_set():
                    log.warning("ending at once", signal=signal.Signals(number).name)
                    nursery.cancel_scope.cancel()
                    return 1
                log.info("shutting down", signal=signal.Signals(number).name)
                stop.set()
    return 0


async def _serve_and_end(
    nursery: trio.Nursery,
    config: Config,
    sockets: Sequence[socket.socket],
    stop: trio.Event,
    certificates: Certificates | None,
) -> None:
    await serve(config, sockets, stop, certificates=certificates)
    nursery.cancel_scope.cancel()


async def _shut_down(
    listener: Listener, fleet: Fleet, dev: DevRuns, registry: store.Registry, receipts: Receipts
) -> None:
    fleet.interrupt()
    cut = await listener.drain(DRAIN_SECONDS)
    if cut:
        log.warning("connections cut", count=cut)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dev.shut_down)
        await fleet.shut_down()
    try:
        with trio.fail_after(FLUSH_SECONDS):
            await registry.flush()
            await receipts.flush()
    except (StorageError, trio.TooSlowError) as error:
        log.error("registry not saved", error=str(error))
    log.info("stopped")


def _facilities(
    config: Config, sockets: Sequence[socket.socket], registry: store.Registry, routes: RouteTable
) -> Facilities:
    start, end = config.formations.port_range
    return Facilities(
        config=config,
        registry=registry,
        ports=PortPool(start, end),
        routes=routes,
        server_url=f"{_scheme(config)}://localhost:{_port(sockets)}",
        search_path=os.environ.get("PATH", os.defpath),
        restoring=trio.CapacityLimiter(max(4, 2 * (os.cpu_count() or 1))),
    )


def _api_settings(config: Config, port: int, keyring: Keyring) -> ApiSettings:
    return ApiSettings(
        server_id=config.server_id,
        port=port,
        runtime_type=config.formations.runtime_type,
        upload_directory=config.formations.formations_dir / ".tmp",
        max_upload_size=config.formations.bundle.max_upload_size,
        allow_dev=config.formations.allow_dev,
        allow_dev_remote=config.formations.allow_dev_remote,
        known_keys=frozenset(keyring.key_ids),
    )


def _limits(config: Config) -> Limits:
    return Limits(
        head_timeout=config.server.read_timeout,
        body_idle_timeout=config.server.read_timeout,
        write_stall_timeout=config.server.write_timeout,
        idle_timeout=config.server.idle_timeout,
        max_head=config.proxy.max_head_size,
        max_connections=config.proxy.max_connections,
        max_connections_per_address=config.proxy.max_connections_per_address,
        max_concurrent=config.proxy.max_concurrent,
    )


def _port(sockets: Sequence[socket.socket]) -> int:
    port: int = sockets[0].getsockname()[1]
    return port


def _url(config: Config, sockets: Sequence[socket.socket]) -> str:
    host = "localhost" if config.server.host in {"0.0.0.0", "::", ""} else config.server.host  # noqa: S104
    return f"{_scheme(config)}://{host}:{_port(sockets)}"


def _scheme(config: Config) -> str:
    return "http" if config.server.tls.cert is None else "https"
