"""Putting one process in the place of another: the base of recycle, update and rollback.

    blue-green   the new one is started beside the old one, on a port of its own; when it is healthy
                 the route is switched to it in one step; the old one finishes what is under way to
                 it, and is ended. Nobody waits, nothing is cut before the drain budget is spent.
    recreate     for what can't overlap: the old one is drained and ended, then the new one started;
                 requests are held meanwhile.

Who calls it is an order of the formation's owner, in the owner's task, with a release that is on
disk. What it promises:

- Until the commit everything can fail or be cancelled (by `Owner.cancel`, `supersede` and
  `interrupt`); then the new process is ended, its port given back, and the old one has served all
  along. `recreate` starts the old release again, and waits for it.
- Right before the switch `commit` is called, if there is one: what it does makes the new release
  the one that counts, on disk; it is given the new process. If it raises, nothing has been switched.
  Nobody is served by a release that does not count: once it does, the switch is one step in
  memory, which can't fail.
- After it nothing is undone. A cancellation hurries the old process's end, and is no failure.
- The registry names both processes before either could be started or ended, so a server that is
  killed anywhere in between is followed by one that adopts the one which runs the committed
  release, and ends the other (`muxi.formation.adopting`).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import structlog
import trio

from muxi.errors import MuxiError
from muxi.formation.adopting import staging_key
from muxi.formation.bring_up import attempt_reporter, launch, make_plan
from muxi.formation.cleanup import collect
from muxi.formation.first_boot import wait_healthy
from muxi.formation.run import SERVING
from muxi.formation.state import TUNING_FILES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muxi.formation.manifest import Strategy
    from muxi.formation.operation import Operation
    from muxi.formation.owner import Owner
    from muxi.formation.plan import Plan
    from muxi.formation.releases import Release
    from muxi.formation.run import Run

    Commit = Callable[[Run], Awaitable[None]]
    RollbackStatus = Literal["not_needed", "success", "failed"]

log = structlog.get_logger()


async def replace(
    owner: Owner,
    operation: Operation,
    release: Release,
    *,
    strategy: Strategy | None = None,
    commit: Commit | None = None,
) -> None:
    """Let a new process of `release`, the same or another one, take over. Raises MuxiError.

    `strategy` None: as the release's manifest says. One that does not serve just now has nothing
    to overlap with, and is recreated. `commit` is not cancelled once it has begun.
    """
    plan = await make_plan(owner, operation, release)
    serving = owner.run is not None and owner.run.instance.state in SERVING
    if serving and (strategy or plan.manifest.strategy) == "blue-green":
        await _blue_green(owner, operation, plan, commit)
    else:
        await _recreate(owner, operation, plan, commit)


async def _blue_green(owner: Owner, operation: Operation, plan: Plan, commit: Commit | None) -> None:
    assert owner.run is not None
    shared = owner.run.plan.release.path
    # Only what is safe to move under a process that runs; a database of its own keeps from coming here.
    await collect(owner, shared, TUNING_FILES)
    try:
        await _stage(owner, operation, plan)
        operation.progress("swapping", "Switching requests to the new process...")
        await _commit(owner, operation, owner.other, commit)
        _switch(owner)
    except BaseException:
        with trio.CancelScope(shield=True):
            await _drop_other(owner)
        raise
    with owner.farewell:
        old = owner.other
        assert old is not None
        operation.progress("stopping_old", "Ending the old process...")
        await owner.see_off(old, operation)
        with suppress(MuxiError):  # what can't be killed is told below
            await old.instance.stop()
    with trio.CancelScope(shield=True):
        await _drop_other(owner)
        await collect(owner, shared, TUNING_FILES)


async def _stage(owner: Owner, operation: Operation, plan: Plan) -> None:
    key = staging_key(owner.id)
    port = owner.facilities.ports.allocate(key)
    operation.progress(
        "spawning_staging", "Starting the new process beside the old one...", staging_port=port
    )
    owner.other = owner.make_run(plan, key=key, port=port, on_attempt=attempt_reporter(operation))
    owner.other.start(owner.nursery, persistent=False)
    operation.progress("health_check", "Waiting for the new process to become healthy...")
    await wait_healthy(owner.other, operation)


def _switch(owner: Owner) -> None:
    """Exchange the two processes: in the route, in the registry, and of their ports. No await."""
    assert owner.run is not None
    assert owner.other is not None
    assert owner.record is not None
    old, new = owner.run, owner.other
    owner.run, owner.other = new, old
    owner.facilities.ports.swap(old.key, new.key)
    old.key, new.key = new.key, old.key
    old.retire()
    owner.record.process, owner.record.other = new.entry, old.entry
    owner.record.port, owner.record.restart_count = new.port, new.instance.restart_count
    owner.save(owner.record)


async def _commit(owner: Owner, operation: Operation, run: Run | None, commit: Commit | None) -> None:
    """Make it final: first that both processes are known on disk, then which release counts."""
    assert run is not None
    await trio.lowlevel.checkpoint_if_cancelled()
    operation.decided = True
    with trio.CancelScope(shield=True):
        await owner.facilities.registry.flush()
        if commit is not None:
            await commit(run)


async def _drop_other(owner: Owner) -> None:
    """End the second process, if there is one, at once; bounded in time by `Instance.kill`."""
    other = owner.other
    if other is not None:
        if other.leaving is not None:
            owner.facilities.routes.end(other.leaving)
        try:
            await other.instance.kill()
        except MuxiError as error:
            owner.note = f"a replaced process could not be ended: {error.message}"
            log.error("replaced process not ended", pid=other.instance.pid, error=error.message)
    owner.other = None
    owner.facilities.ports.release(staging_key(owner.id))
    if owner.record is not None:
        owner.record.other = None
        owner.save(owner.record)


async def _recreate(owner: Owner, operation: Operation, plan: Plan, commit: Commit | None) -> None:
    assert owner.record is not None
    before = None if owner.record.stopped else owner.run
    owner.coming_back = True
    operation.progress("stopping_old", "Ending the old process...")
    try:
        await owner.halt(operation)
        owner.hold_back()
        await launch(owner, operation, plan, persistent=False)
        await _commit(owner, operation, owner.run, commit)
        owner.admit()
    except BaseException as error:
        with trio.CancelScope(shield=True):
            status = await _go_back(owner, operation, before)
        owner.admit()
        if isinstance(error, MuxiError):
            error.details["rollback_status"] = status
        raise


async def _go_back(owner: Owner, operation: Operation, before: Run | None) -> RollbackStatus:
    """Start what ran before again, unless the server ends; say how that went."""
    if before is not None and owner.run is before and before.instance.state in SERVING:
        before.return_to_duty()  # it was only waited for, and never asked to end
        return "not_needed"
    if owner.run is not None:
        await owner.run.instance.kill()
    if owner.interrupted:
        return "success"  # it is what the next server starts
    if before is None:
        owner.run = None
        return "not_needed"
    log.warning("going back to the release before", release=before.plan.release.number)
    operation.progress("restoring", "Starting the release before again...")
    run = owner.launch(before.plan, persistent=True)
    try:
        await run.instance.wait_healthy()
    except MuxiError as error:
        log.error("the release before does not start either", error=error.message)
        return "failed"
    return "success"
