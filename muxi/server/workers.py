"""The server's workers, as its configuration says: how many, how one is started, what it goes by."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import structlog

from muxi import __version__
from muxi.proxy.limits import Limits
from muxi.server.program import compilation, this_program
from muxi.workers.crew import Crew
from muxi.workers.messages import Settings, TlsFiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.config.model import Config
    from muxi.proxy.listener import Listener
    from muxi.registry.routes import RouteTable


log = structlog.get_logger()


def processes(config: Config) -> int:
    """Say how many processes proxy: one, where the system can't pass connections between them."""
    return config.server.workers if hasattr(socket, "send_fds") else 1


def make_crew(
    config: Config, listener: Listener, routes: RouteTable, sdk_releases: Mapping[str, str] | None
) -> Crew | None:
    """Make the workers of a listener, which is told of them; None where there are none."""
    others = processes(config) - 1
    if not others:
        if config.server.workers > 1:
            log.warning("no workers", reason="this system can't pass connections from process to process")
        return None
    if config.proxy.rate or config.proxy.max_concurrent_per_formation:
        log.warning(
            "workers have little to do",
            reason="formations with a rate or a limit on requests at once are served by the main process, "
            "and proxy.rate or proxy.max_concurrent_per_formation is set for all",
        )
    crew = Crew(others, worker_command(), worker_settings(config, sdk_releases), listener, routes)
    listener.colleagues = crew
    return crew


def worker_command() -> tuple[str, ...]:
    """Return what starts a worker, but for its last argument: a descriptor."""
    if compilation() is not None:
        return (this_program().path, "worker")
    return (sys.executable, "-P", "-m", "muxi", "worker")


def worker_settings(config: Config, sdk_releases: Mapping[str, str] | None) -> Settings:
    """Return what workers go by. It holds no secret: keys are read from their files."""
    tls, output = config.server.tls, config.logging.output
    return Settings(
        version=__version__,
        processes=processes(config),
        limits=limits(config),
        trusted_proxies=config.server.trusted_proxies,
        proxy_protocol=config.server.proxy_protocol == "required",
        tls=None
        if tls.cert is None
        else TlsFiles(str(tls.cert), None if tls.key is None else str(tls.key), tls.min_version),
        log_level=config.logging.level,
        log_format=config.logging.format,
        log_output=str(output),
        sdk_releases=None if sdk_releases is None else dict(sdk_releases),
    )


def limits(config: Config) -> Limits:
    """Return the limits of the proxy, in every process the same."""
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
