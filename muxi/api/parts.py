"""What the management API is made of: the parts that the composition gives it, and their shapes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from muxi.config.metrics import MetricsConfig

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    import trio

    from muxi.api.audit import AuditLog
    from muxi.formation.facilities import Facilities
    from muxi.formation.operation import Operation
    from muxi.formation.upload import Upload
    from muxi.formation.view import Counts, DevView, FormationView, LogFiles, PortUsage
    from muxi.formation.wishes import RollbackWish, UpdateWish
    from muxi.registry.receipts import Receipts


class Fleet(Protocol):
    """All formations. No other method waits or does I/O; what takes time is the `Operation` it returns.

    Those that take an id raise `NotFound` for an unknown one; those that begin an operation raise
    `Conflict` when it makes no sense now or another one is under way. An operation runs in the
    formation's own task and goes on when nobody watches it.
    """

    async def brought_back(self, formation_id: str) -> None:
        """Return once it is not being brought back any more after a start of the server, within bounds."""
        ...

    def list(self) -> Sequence[FormationView]:
        """Show all, without what has been counted of their requests."""
        ...

    def get(self, formation_id: str) -> FormationView: ...

    def deploy(self, upload: Upload, formation_id: str, version: str | None) -> Operation:
        """Begin a deploy. From here on the upload is the fleet's to discard, unless this raises."""
        ...

    def update(self, upload: Upload, formation_id: str, wish: UpdateWish) -> Operation:
        """Begin an update; the upload is the fleet's as with a deploy."""
        ...

    def update_draft(self, formation_id: str) -> Operation:
        """Begin an update to the formation's draft."""
        ...

    def rollback(self, formation_id: str, wish: RollbackWish) -> Operation: ...

    def cancel(self, formation_id: str) -> Operation:
        """Cancel the deploy, update or rollback under way; it ends as cancelled once it is undone."""
        ...

    def operation(self, formation_id: str, operation_id: str | None = None) -> Operation:
        """Return the latest operation of a formation, also of one that is gone; or a certain one."""
        ...

    def deploy_draft(self, formation_id: str) -> Operation:
        """Begin a first deploy of the formation's draft."""
        ...

    def start(self, formation_id: str) -> Operation: ...

    def stop(self, formation_id: str) -> Operation: ...

    def restart(self, formation_id: str) -> Operation: ...

    def delete(self, formation_id: str) -> Operation: ...

    def log_files(self, formation_id: str) -> LogFiles: ...

    def deletion(self, formation_id: str) -> trio.Event:
        """Return the event that is set once the formation has been deleted."""
        ...

    def counts(self) -> Counts: ...

    def ports(self) -> PortUsage: ...


class DevRun(Protocol):
    """A directory that runs as it is."""

    @property
    def id(self) -> str: ...

    @property
    def port(self) -> int: ...


class DevRuns(Protocol):
    """The directories that run as they are (`muxi.formation.dev.DevRuns`)."""

    async def start(self, path: object, formation_id: object, *, watch: bool) -> DevRun:
        """Run a directory, or a formation's draft, as the request names it; returns once it is healthy.

        Raises MuxiError, and leaves nothing then.
        """
        ...

    def list(self) -> Sequence[DevView]: ...

    async def logs(self, formation_id: str) -> tuple[LogFiles, trio.Event]:
        """Return where its output is, also the last run's, and what is set once it has ended.

        Raises NotFound.
        """
        ...

    async def stop(self, formation_id: str) -> None:
        """End one; returns when nothing is left of it. Raises NotFound."""
        ...


class Authenticator(Protocol):
    """Who may use the management API (`muxi.auth.keyring.Keyring`)."""

    def authenticate(self, authorization: str | None, method: str, path: str | bytes, now: float) -> str:
        """Return the id of the key that signed; raise `Unauthorized`. `now` is Unix seconds."""
        ...


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """The configured values that the API needs. Times are seconds, sizes bytes.

    `upload_directory` holds bundles while they arrive; it lies on the disk of the data directory.
    `known_keys` are the ids (never the secrets) that an audit line may name when a request that
    claims one of them is refused.
    """

    server_id: str
    port: int
    runtime_type: str
    upload_directory: Path
    max_upload_size: int
    allow_dev: bool = True
    allow_dev_remote: bool = False
    """Whether `/rpc/dev/*` is there at all, and for clients on other machines."""
    known_keys: frozenset[str] = frozenset()
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    max_json_size: int = 32 * 1024 * 1024
    body_chunk_timeout: float = 60.0
    """How long an upload may pause between two pieces; there is no limit on the whole."""
    keepalive_interval: float = 15.0
    """Pause after which a silent event stream gets a comment, so that nothing between cuts it."""


async def _no_telemetry() -> Mapping[str, object]:
    return {"enabled": False, "reason": "this server reports nothing"}


def _not_counted(_route: str) -> None:
    pass


@dataclass(slots=True, eq=False)
class ApiParts:
    """Everything `create_app` needs. `authenticator` is None when authentication is disabled.

    `authenticator` and `settings` are others after the configuration was read again, so they are
    looked up at each use.
    """

    fleet: Fleet
    dev: DevRuns
    authenticator: Authenticator | None
    settings: ApiSettings
    facilities: Facilities
    """What a formation's files are reached by: its releases, its draft."""
    audit: AuditLog
    receipts: Receipts
    version: str
    started_at: float
    """Unix time at which the server started."""
    proxy_status: Callable[[], Mapping[str, object]] = dict
    """What the public port holds, may hold, and has counted (`muxi.proxy.listener.Listener.status`)."""
    program_status: Callable[[], Mapping[str, object]] = dict
    """How this program came to serve, for the status's `server`: its start, upgrades, the last reload."""
    unready: Callable[[], str] = str
    """Why requests are better not sent to this server just now; "" when they may be."""
    code_runner: Callable[[], Mapping[str, object]] = dict
    """How the code runner stands (`muxi.rce.sidecar.Sidecar.status`)."""
    limits_in_force: Callable[[], Mapping[str, str]] = dict
    """By which means formations are held to their limits (`muxi.process.confinement.Confiner`)."""
    sandbox_in_force: Callable[[], Mapping[str, str]] = dict
    """By which means native formations are kept apart from the machine (`muxi.sandbox.sandbox.Sandbox`)."""
    telemetry_standing: Callable[[], Awaitable[Mapping[str, object]]] = _no_telemetry
    """Whether anonymous counts are reported, and the next report (`muxi.telemetry.reporter.Standing`)."""
    count_use: Callable[[str], None] = _not_counted
    """Told of each use of a management route: its method and template, never an id."""
    now: Callable[[], float] = time.time
