"""What update and rollback share: one release takes the place of another, and the record follows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from muxi.errors import MuxiError
from muxi.formation.bring_up import addresses, started
from muxi.formation.collect import keeps_own_database
from muxi.formation.memory import fitting_strategy
from muxi.formation.replace import replace
from muxi.formation.state import DATABASE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from muxi.formation.manifest import Manifest, Strategy
    from muxi.formation.operation import Operation
    from muxi.formation.owner import Owner
    from muxi.formation.releases import Release
    from muxi.formation.run import Run
    from muxi.registry.receipts import Receipt

    Commit = Callable[[Release, Receipt | None], Awaitable[None]]


async def exchange(
    owner: Owner,
    operation: Operation,
    release: Release,
    manifest: Manifest,
    *,
    before: Release,
    wanted: Strategy | None,
    message: Callable[[Strategy], str],
    commit: Commit,
) -> Mapping[str, object]:
    """Let `release` take over from the committed one, `before`, and make it the committed one.

    `commit` is given it with what it was found to run on, and a receipt for who asked for this; what
    that says is the result, which is returned. `message` makes the words of it for the strategy that
    was used. Raises MuxiError; then it is as if nothing had been done.
    """
    strategy = await fitting_strategy(owner, operation, wanted or manifest.strategy)
    if strategy == "blue-green" and await _keeps_own_database(owner):
        operation.progress("validating", f"It has a {DATABASE} of its own, to be moved: one by one...")
        strategy = "recreate"

    result: Mapping[str, object] = {}

    async def decide(run: Run) -> None:
        nonlocal result
        result = _outcome(owner, run, before, strategy, message(strategy))
        await commit(run.plan.pinned, operation.receipt(time.time(), result))
        record = owner.record
        assert record is not None
        record.name, record.semantic = manifest.name, release.semantic
        record.previous_hash, record.bundle_hash = record.bundle_hash, release.bundle_hash
        record.deployed_at = release.deployed_at
        record.stopped, record.updated_at = False, time.time()
        owner.save(record)

    await replace(owner, operation, release, strategy=strategy, commit=decide)
    return result


async def _keeps_own_database(owner: Owner) -> bool:
    """Say whether the release that runs has a database which the next one would not see."""
    if owner.run is None:
        return False
    return await trio.to_thread.run_sync(keeps_own_database, owner.run.plan.release.path)


def _outcome(
    owner: Owner, run: Run, before: Release, strategy: Strategy, message: str
) -> Mapping[str, object]:
    """Return the result in the words of all clients: numbers of releases are texts to them."""
    number = run.plan.release.number
    return {
        **started(owner, run),
        **addresses(owner, run),
        "release": number,
        "previous_release": before.number,
        "previous_version": str(before.number),
        "current_version": str(number),
        "new_version": str(number),
        "deployment_type": strategy,
        "message": message,
    }


async def keep_word(owner: Owner) -> None:
    """Have the registry on disk, after the commit, when nothing can be taken back any more."""
    with trio.CancelScope(shield=True):
        try:
            await owner.facilities.registry.flush()
        except MuxiError:
            return  # version.json has it; the registry's own task goes on trying


def explain(error: MuxiError) -> None:
    """Say with a failure what became of what ran before."""
    status = error.details.setdefault("rollback_status", "not_needed")
    if error.stage in {"health_check", "spawning", "spawning_staging"} and status != "failed":
        cure = error.cure or "See what it said last, mend it, and try again."
        error.cure = f"{cure} The release before is still the current one."
