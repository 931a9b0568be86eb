"""What a server finds of its predecessor's processes: it goes on with them, or ends them.

The next start after a crash, or after an upgrade by exec, finds the records that the last one
wrote. Of a formation's processes at most two are in them, and one of these runs the release that
is committed: that one is adopted, as it is, and serves at once. Everything else that is proved to
be ours is ended; a crash in the middle of an update is thereby decided. What can't be proved is
left alone, and said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from muxi.errors import MuxiError
from muxi.formation.plan import read_plan
from muxi.formation.run import identity_of
from muxi.process.adopted import adopt
from muxi.process.identity import stop_leftover, stop_marked
from muxi.process.lifecycle import State

if TYPE_CHECKING:
    from muxi.formation.facilities import Facilities
    from muxi.formation.operation import Operation
    from muxi.formation.owner import Owner
    from muxi.formation.releases import Release
    from muxi.process.handle import Handle
    from muxi.process.spec import ProcessSpec
    from muxi.registry.records import ProcessRecord

log = structlog.get_logger()


def staging_key(formation_id: str) -> str:
    """Return the name under which a formation's second process holds its port. No id has a '+'."""
    return f"{formation_id}+other"


async def adopt_running(owner: Owner, operation: Operation, release: Release) -> bool:
    """Go on with the process that runs this release, if there is one; say whether there was.

    The other one, if there is one, is ended. When this returns False nothing has been ended yet.
    """
    record = owner.record
    assert record is not None
    for entry in filter(None, (record.process, record.other)):
        if entry.release == release.number and await _adopt(owner, operation, release, entry):
            other = record.other if entry is record.process else record.process
            await end_leftover(owner, other)
            record.other = None
            owner.facilities.ports.release(staging_key(owner.id))
            owner.save(record)
            return True
    return False


async def end_leftovers(owner: Owner) -> None:
    """End all that an earlier server left of the formation, and forget it."""
    record = owner.record
    assert record is not None
    for entry in (record.process, record.other):
        await end_leftover(owner, entry)
    record.process = record.other = None
    owner.facilities.ports.release(staging_key(owner.id))


async def end_ownerless(owner: Owner) -> None:
    """End what an earlier server left and nobody has gone on with, because the restore was cut short."""
    record = owner.record
    if record is None:
        return
    if owner.run is None:
        await end_leftover(owner, record.process)
        record.process = None
    if owner.other is None:
        await end_leftover(owner, record.other)
        record.other = None


async def end_leftover(owner: Owner, entry: ProcessRecord | None) -> None:
    """End one of them, if it is proved ours. What is not is no business of ours."""
    if entry is None:
        return
    if not await end_process(owner.facilities, entry):
        which = f"container {entry.container[:12]}" if entry.container else f"pid {entry.pid or 'unknown'}"
        owner.note = f"a process of an earlier server could not be ended ({which})"
        log.warning("leftover not ended", pid=entry.pid, container=entry.container[:12])


async def end_process(facilities: Facilities, entry: ProcessRecord) -> bool:
    """End what a record tells of, wherever it runs; say whether it is all gone."""
    grace = facilities.config.formations.deployment.force_kill_timeout
    if entry.place:
        placement = facilities.places.get(entry.place)
        return placement is not None and await placement.end_leftover(entry, grace)
    identity = identity_of(entry)
    ended = await (
        stop_marked(entry.token_sha256, grace) if identity is None else stop_leftover(identity, grace)
    )
    facilities.confiner.dismiss(entry.pid)
    return ended


async def _adopt(owner: Owner, operation: Operation, release: Release, entry: ProcessRecord) -> bool:
    if owner.record is None or (identity_of(entry) is None and not entry.container):
        return False
    try:
        plan = await read_plan(owner.facilities, owner.id, release)
    except MuxiError as error:  # it could not be started again: told when that is tried
        log.warning("process not adopted", pid=entry.pid, error=error.message)
        return False
    owner.depends_on = plan.manifest.depends_on
    spec = plan.spec(entry.port)
    handle = await take_over(owner.facilities, entry, spec)
    if handle is None:
        log.info("process is gone", pid=entry.pid)
        return False
    state = State(entry.state) if entry.state in {State.RUNNING, State.UNHEALTHY} else State.STARTING
    try:
        if state is not State.STARTING and await handle.listens(spec.host, spec.port) is not True:
            state = State.STARTING  # so it has to prove itself, as one just started has
    except BaseException:
        handle.let_go()
        raise
    _take_port(owner, entry.port)
    owner.run = owner.make_run(plan, key=owner.id, port=entry.port)
    operation.progress("adopting", "Going on with the running process...", pid=entry.pid)
    log.info("process adopted", pid=entry.pid, state=str(state), port=entry.port)
    owner.run.go_on(owner.nursery, handle, entry, state)
    return True


async def take_over(facilities: Facilities, entry: ProcessRecord, spec: ProcessSpec) -> Handle | None:
    """Return the process that a record tells of, wherever it runs, if it is proved ours and alive."""
    if entry.place:
        placement = facilities.places.get(entry.place)
        return None if placement is None else await placement.adopt(entry, spec)
    identity = identity_of(entry)
    return None if identity is None else adopt(identity, entry.started_at, spec, facilities.confiner)


def _take_port(owner: Owner, port: int) -> None:
    """Have the formation's own key hold the port that the adopted process listens on."""
    ports, record = owner.facilities.ports, owner.record
    assert record is not None
    if ports.get(staging_key(owner.id)) == port and ports.get(owner.id) is not None:
        ports.swap(owner.id, staging_key(owner.id))
    ports.reserve(owner.id, port, in_use=True)
    record.port = port
