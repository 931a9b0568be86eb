"""Bringing back, at the server's start, what ran when it ended, however it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio

from muxi.errors import StorageError
from muxi.formation.bring_up import bring_up, started
from muxi.formation.deploy import remove_logs
from muxi.process.identity import Identity, stop_leftover, stop_marked
from muxi.registry.records import FormationRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muxi.formation.facilities import Facilities
    from muxi.formation.operation import Operation
    from muxi.formation.owner import Owner
    from muxi.formation.releases import Release

log = structlog.get_logger()


async def restore(owner: Owner, operation: Operation) -> Mapping[str, object]:
    """Start a formation again, unless it was stopped, after ending what a killed server left.

    A record without a committed release is what a server that died during a deploy or a delete
    left behind: it is cleared away.
    """
    facilities, record = owner.facilities, owner.record
    assert record is not None
    async with facilities.restoring:
        await _end_leftover(owner)
        release = await trio.to_thread.run_sync(facilities.releases(owner.id).recover)
        if release is None:
            await _clear_away(owner)
            return {"id": owner.id, "status": "removed"}
        if record.stopped:
            return {"id": owner.id, "status": "stopped"}
        _claim_port(owner)
        await bring_up(owner, operation, release, persistent=True)
    return started(owner)


def unrecorded(facilities: Facilities) -> list[FormationRecord]:
    """Make records for committed formations that the registry does not know (blocking).

    There are such after a damaged registry was set aside, or a crash between the commit of a
    deploy and the writing of the registry. Their port is chosen when they are started.
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
    return found


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


async def _end_leftover(owner: Owner) -> None:
    assert owner.record is not None
    proof = owner.record.process
    if proof is None:
        return
    grace = owner.facilities.config.formations.deployment.force_kill_timeout
    token = proof.get("token_sha256")
    try:
        ended = await stop_leftover(Identity.from_json(proof), grace)
    except ValueError:
        ended = isinstance(token, str) and await stop_marked(token, grace)
    if not ended:
        log.warning("a process of an earlier server could not be ended", pid=proof.get("pid"))
    owner.record.process = None


async def _clear_away(owner: Owner) -> None:
    log.warning("unfinished formation removed", formation_id=owner.id)
    await trio.to_thread.run_sync(owner.facilities.releases(owner.id).clear)
    await trio.to_thread.run_sync(remove_logs, owner.facilities.log_files(owner.id))
    owner.forget()


def _claim_port(owner: Owner) -> None:
    """Take the port it had; when a stranger has it now, another one."""
    assert owner.record is not None
    ports, old = owner.facilities.ports, owner.record.port
    if old and ports.reserve(owner.id, old):
        return
    owner.record.port = ports.allocate(owner.id, avoid={old})
    log.warning("port changed", formation_id=owner.id, old=old, port=owner.record.port)
    owner.save(owner.record)
