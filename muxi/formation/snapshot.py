"""How a formation stands now, put together from its owner, its record and its process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from muxi.formation.drain import drain_view
from muxi.formation.owner import ALIVE
from muxi.formation.run import SERVING
from muxi.formation.view import FormationView, VersionView

if TYPE_CHECKING:
    from muxi.formation.owner import Owner
    from muxi.formation.view import DrainView
    from muxi.process.confinement import Confiner
    from muxi.process.instance import Instance
    from muxi.process.usage import Usage
    from muxi.registry.traffic import TrafficView


def view_of(owner: Owner, *, counted: bool = True) -> FormationView | None:
    """Say how it stands; None when there is nothing to be seen of it yet.

    `counted`: with what has been counted of its requests, which takes longer than all the rest.
    """
    record, instance = owner.record, owner.instance
    if record is None:
        return None
    status = owner.status
    started = instance.started_at if instance is not None else None
    return FormationView(
        id=record.id,
        name=record.name,
        status=str(status),
        port=record.port,
        pid=instance.pid if instance is not None else None,
        uptime=int(time.time() - started) if started is not None and status in SERVING else 0,
        restart_count=record.restart_count,
        healthy=instance.healthy if instance is not None and status in ALIVE else False,
        version=VersionView(record.semantic, record.bundle_hash, record.previous_hash or None),
        created_at=record.created_at,
        deployed_at=record.deployed_at,
        updated_at=started or record.updated_at,
        since=instance.since if instance is not None else record.updated_at,
        reason=_reason(owner),
        next_try_at=instance.next_try_at if instance is not None else None,
        crash_loop=instance is not None and instance.crash_loop,
        last_exit=instance.last_exit if instance is not None else None,
        operation_id=owner.operation.id if owner.operation is not None else None,
        traffic=_traffic(owner) if counted else None,
        usage=usage_of(owner.facilities.confiner, instance) if instance is not None else None,
        drain=_drain(owner),
        depends_on=owner.depends_on,
        adopted=instance is not None and instance.adopted,
        runtime=owner.run.plan.prepared.pin if owner.run is not None else None,
    )


def _reason(owner: Owner) -> str | None:
    if owner.waits_for:
        return f"waits for {', '.join(owner.waits_for)}"
    said = owner.instance.reason if owner.instance is not None else None
    return said or owner.note or owner.facilities.log_problems.get(owner.id)


def usage_of(confiner: Confiner, instance: Instance) -> Usage | None:
    """Return what an instance's processes were last seen to use."""
    if instance.container_id:  # its pid, if it has one here, says nothing to the meter
        return instance.usage
    return confiner.usage(instance.pid)


def _drain(owner: Owner) -> DrainView | None:
    for run in (owner.run, owner.other):
        if run is not None and run.leaving is not None:
            return drain_view(run.leaving)
    return None


def _traffic(owner: Owner) -> TrafficView | None:
    route = owner.facilities.routes.live.get(owner.id.encode())
    return route.traffic.snapshot() if route is not None else None
