"""One release's process under its formation's owner: its instance, its target, its place in the registry.

An owner has one, and a second one while one takes the place of the other.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import structlog
from msgspec import structs

from muxi.process import probe
from muxi.process.identity import Identity
from muxi.process.instance import Instance
from muxi.process.lifecycle import State
from muxi.process.means import Means
from muxi.process.procfs import hash_token
from muxi.process.pulse import Activity
from muxi.registry.records import ProcessRecord
from muxi.registry.routes import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import trio

    from muxi.formation.facilities import Facilities
    from muxi.formation.plan import Plan
    from muxi.process.handle import Handle
    from muxi.process.probe import ProbeResult
    from muxi.process.spec import ProcessSpec

log = structlog.get_logger()

SERVING = frozenset({State.RUNNING, State.UNHEALTHY})


class Run:
    """`entry` is what the registry holds of it; `on_change` is called whenever anything changes.

    `key` is the name under which it holds its port.
    """

    def __init__(
        self,
        facilities: Facilities,
        plan: Plan,
        *,
        key: str,
        port: int,
        on_change: Callable[[Run], None],
        on_attempt: Callable[[int, int, str], None] | None = None,
        restart_count: int = 0,
    ) -> None:
        self.plan = plan
        self.key = key
        #: What the proxy sends requests to while it is healthy; the same one through an unhealthy time.
        self.target: Target | None = None
        #: What has lost its place in the route and waits for its last requests to end.
        self.leaving: Target | None = None
        self._facilities = facilities
        self._on_change = on_change
        self._retired = False
        self._marked = False
        self._token = secrets.token_hex(16)
        self.instance = Instance(
            self._spec(port),
            facilities.restart_policy(),
            on_change=lambda _: self._changed(),
            means=Means(
                launch=self._launch,
                check=self._check,
                relocate=self._relocate,
                activity=self._activity,
                on_attempt=on_attempt,
            ),
            restart_count=restart_count,
        )
        self._seen = self.instance.state, restart_count
        self.entry = self._mark()

    @property
    def port(self) -> int:
        return self.instance.spec.port

    @property
    def reachable(self) -> Target | None:
        """What requests may be sent to now."""
        return self.target if self.instance.state is State.RUNNING else None

    def start(self, nursery: trio.Nursery, *, persistent: bool) -> None:
        """Keep it running, as a task of the nursery. `persistent`: a failed first start is tried again."""
        nursery.start_soon(partial(self.instance.run, restart_on_failed_start=persistent))

    def go_on(self, nursery: trio.Nursery, handle: Handle, entry: ProcessRecord, state: State) -> None:
        """Keep running what runs already, as `state` says it is."""
        self.entry = entry
        run = partial(self.instance.run, restart_on_failed_start=True, adopt=handle, adopt_as=state)
        nursery.start_soon(run)

    def retire(self) -> None:
        """Take it out of the route, before it is ended."""
        self._retired = True
        self.leaving, self.target = self.target or self.leaving, None

    def return_to_duty(self) -> None:
        """Take back a retirement: it is to serve again. What was told to end on it still may."""
        self._retired, self.leaving = False, None
        self._changed()

    def _spec(self, port: int) -> ProcessSpec:
        return replace(self.plan.spec(port), token=self._token)

    def _mark(self) -> ProcessRecord:
        placement = self.plan.prepared.placement
        return ProcessRecord(
            token_sha256=hash_token(self._token.encode()),
            release=self.plan.release.number,
            port=self.port,
            place="" if placement is None else placement.name,
        )

    async def _launch(self, spec: ProcessSpec) -> Handle:
        """Start the process, once it is on disk by what it will be known as ours.

        A server that is killed right after must find it again.
        """
        if not self._marked:
            self.entry = self._mark()
            self._on_change(self)
            await self._facilities.registry.flush()
            self._marked = True
        return await self._facilities.spawn(spec, self.plan.prepared.placement)

    async def _check(self, host: str, port: int, paths: Sequence[str], timeout: float) -> ProbeResult:
        result = await probe.check(host, port, paths, timeout)
        # Before it was up once, a check that fails is no failure.
        if not result.healthy and self.instance.healthy is not None:
            self._facilities.happened("failed check")
        return result

    def _relocate(self, spec: ProcessSpec) -> ProcessSpec:
        port = self._facilities.ports.allocate(self.key, avoid={spec.port})
        log.warning("port changed", process=spec.process_id, old=spec.port, port=port)
        return self._spec(port)

    def _activity(self) -> Activity:
        route = self._facilities.routes.live.get(self.plan.manifest.id.encode())
        if self.target is None or route is None:
            return Activity()
        moved = route.traffic.bytes_in + route.traffic.bytes_out
        return Activity(busy=self.target.in_flight > 0, moved=moved)

    def _count(self) -> None:
        """Tell of what has happened since the last change."""
        state, restarts = self._seen
        self._seen = self.instance.state, self.instance.restart_count
        if self.instance.state is State.CRASHED and state is not State.CRASHED:
            self._facilities.happened("crash")
        if self.instance.restart_count > restarts:
            self._facilities.happened("restart")

    def _changed(self) -> None:
        instance = self.instance
        self._count()
        if self._retired or instance.state not in SERVING:
            self.target = None
        elif instance.state is State.RUNNING and self.target is None:
            self.target = Target(instance.spec.host, instance.spec.port)
        self.entry = entry_of(self._mark(), instance)
        self._on_change(self)


def identity_of(entry: ProcessRecord) -> Identity | None:
    """Return the proof that is in a record; None when there is only the token's hash, or no pid at all."""
    try:
        return Identity.from_json(
            {
                "pid": entry.pid,
                "start_ticks": entry.start_ticks,
                "boot_id": entry.boot_id,
                "token_sha256": entry.token_sha256,
            }
        )
    except ValueError:
        return None


def entry_of(mark: ProcessRecord, instance: Instance) -> ProcessRecord:
    """Return what is to be written of an instance; the mark alone while it has no process."""
    identity = instance.identity
    if instance.container_id:
        return structs.replace(
            mark,
            container=instance.container_id,
            started_at=instance.started_at or 0.0,
            state=str(instance.state),
        )
    if identity is None:
        return mark
    return ProcessRecord(
        token_sha256=identity.token_sha256,
        release=mark.release,
        port=mark.port,
        pid=identity.pid,
        start_ticks=identity.start_ticks,
        boot_id=identity.boot_id,
        started_at=instance.started_at or 0.0,
        state=str(instance.state),
    )
