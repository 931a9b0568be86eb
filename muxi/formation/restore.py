"""Bringing back, at the server's start, what ran when it ended, however it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio

from muxi.errors import StorageError
from muxi.formation.adopting import adopt_running, end_leftovers, staging_key
from muxi.formation.bring_up import launch, make_plan, started, wait_for_dependencies
from muxi.formation.cleanup import remove_logs
from muxi.process.lifecycle import State
from muxi.registry.records import FormationRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.formation.facilities import Facilities
    from muxi.formation.operation import Operation
    from muxi.formation.owner import Owner
    from muxi.formation.releases import Release

log = structlog.get_logger()


async def restore(owner: Owner, operation: Operation) -> Mapping[str, object]:
    """Go on with a formation that still runs; start another one again, unless it was stopped.

    A record without a committed release is what a server that died during a deploy or a delete
    left behind: it is cleared away. So many are started at once as `facilities.restoring` allows;
    one that waits for its dependencies, and one that is adopted, takes nobody's place.
    """
    facilities, record = owner.facilities, owner.record
    assert record is not None
    owner.coming_back = not record.stopped
    releases = facilities.releases(owner.id)
    release = await trio.to_thread.run_sync(releases.current)
    renamed = release is not None and _follow(record, release)
    adopted = release is not None and not record.stopped and await adopt_running(owner, operation, release)
    if not adopted:
        await end_leftovers(owner)
    if release is None:
        await _clear_away(owner)
        return {"id": owner.id, "status": "removed"}
    # Only now does nothing run any more of a release that was never committed.
    await trio.to_thread.run_sync(releases.recover)
    if adopted:
        assert owner.run is not None
        record.name = owner.run.plan.manifest.name if renamed else record.name
        owner.save(record)
        if owner.run.entry.state != State.UNHEALTHY:  # that one may stay so for long
            await owner.run.instance.wait_healthy()
        return {**started(owner), "adopted": True}
    if record.stopped:
        owner.save(record)
        return {"id": owner.id, "status": "stopped"}
    plan = await make_plan(owner, operation, release)
    record.name = plan.manifest.name if renamed else record.name
    await wait_for_dependencies(owner, operation)
    async with facilities.restoring:
        _claim_port(owner)
        await launch(owner, operation, plan, persistent=True)
    return started(owner)


def _follow(record: FormationRecord, release: Release) -> bool:
    """Have the record say what version.json says; say whether it was of another release.

    A server may have been killed between the two.
    """
    other = record.bundle_hash != release.bundle_hash
    record.semantic, record.bundle_hash = release.semantic, release.bundle_hash
    record.deployed_at = release.deployed_at
    return other


def reserve_ports(facilities: Facilities) -> None:
    """Keep the ports of all records from being given to others; their processes may still run."""
    for record in facilities.registry.records.values():
        if record.port:
            facilities.ports.reserve(record.id, record.port, in_use=True)
        for entry in filter(None, (record.process, record.other)):
            if entry.port not in {0, record.port}:
                facilities.ports.reserve(staging_key(record.id), entry.port, in_use=True)


def unrecorded(facilities: Facilities) -> list[FormationRecord]:
    """Make records for committed formations that the registry does not know (blocking).

    There are such after a damaged registry was set aside, or a crash between the commit of a
    deploy and the writing of the registry. Their port is chosen when they are started. What a deploy
    left that did not come to a commit is removed.
    """
    found = []
    for home in sorted(facilities.formations_dir.iterdir()):
        if home.name.startswith(".") or home.name in facilities.registry.records:
            continue
        try:
            release = facilities.releases(home.name).current()
        except StorageError as error:  # one formation's damage must not keep the others out
            log.error("formation left out", formation_id=home.name, reason=error.message)
            continue
        if release is not None:
            found.append(_record(home.name, release))
        elif home.is_dir():
            _clear_unfinished(facilities, home.name)
    return found


def _clear_unfinished(facilities: Facilities, formation_id: str) -> None:
    try:
        facilities.releases(formation_id).clear_unfinished()
    except StorageError as error:  # it is in nobody's way
        log.warning("unfinished formation not removed", formation_id=formation_id, reason=error.message)


def _record(formation_id: str, release: Release) -> FormationRecord:
    log.warning("formation was not in the registry", formation_id=formation_id)
    return FormationRecord(
        id=formation_id,
        name=formation_id,
        port=0,
        semantic=release.semantic,
        bundle_hash=release.bundle_hash,
        created_at=release.deployed_at,
        deployed_at=release.deployed_at,
        updated_at=release.deployed_at,
    )


async def _clear_away(owner: Owner) -> None:
    log.warning("unfinished formation removed", formation_id=owner.id)
    await trio.to_thread.run_sync(owner.facilities.releases(owner.id).clear)
    await trio.to_thread.run_sync(remove_logs, owner.facilities.log_files(owner.id))
    owner.forget()


def _claim_port(owner: Owner) -> None:
    """Keep the port it had; when a stranger has it now, take another one."""
    assert owner.record is not None
    ports, old = owner.facilities.ports, owner.record.port
    if old and ports.usable(owner.id):
        return
    owner.record.port = ports.allocate(owner.id, avoid={old})
    log.warning("port changed", formation_id=owner.id, old=old, port=owner.record.port)
    if old:
        owner.note = f"port {old} is held by a process that is not ours; moved to {owner.record.port}"
    owner.save(owner.record)
