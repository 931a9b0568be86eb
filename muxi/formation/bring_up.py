"""From a release on disk to a healthy process: what deploy, start, restart and restore share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from muxi.formation.first_boot import wait_healthy
from muxi.formation.plan import read_plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.formation.operation import Operation
    from muxi.formation.owner import Owner
    from muxi.formation.plan import Plan
    from muxi.formation.releases import Release
    from muxi.formation.run import Run

log = structlog.get_logger()


async def bring_up(owner: Owner, operation: Operation, release: Release, *, persistent: bool) -> None:
    """Start a release, after those it depends on, and wait until it is healthy; report each step.

    `persistent`: the process is kept and tried again by policy although this start failed.
    Raises MuxiError, most often FormationFailed with exit, last probe and log tail.
    """
    plan = await make_plan(owner, operation, release)
    await wait_for_dependencies(owner, operation)
    await launch(owner, operation, plan, persistent=persistent)


async def make_plan(owner: Owner, operation: Operation, release: Release) -> Plan:
    """Read what the release needs; nothing has been started or ended when this raises MuxiError."""
    operation.progress("resolving_runtime", "Resolving runtime...")
    plan = await read_plan(owner.facilities, owner.id, release, operation.progress)
    owner.depends_on = plan.manifest.depends_on
    described = plan.prepared.description
    version = plan.prepared.pin.version or plan.prepared.pin.runtime
    operation.progress("resolving_runtime", f"Resolved runtime: {described}", version=version)
    return plan


async def launch(owner: Owner, operation: Operation, plan: Plan, *, persistent: bool) -> None:
    """Start the process and wait until it is healthy."""
    operation.progress("spawning", "Starting formation process...")
    run = owner.launch(plan, persistent=persistent, on_attempt=attempt_reporter(operation))
    operation.progress("health_check", "Waiting for the formation to become healthy...")
    await wait_healthy(run, operation)


async def wait_for_dependencies(owner: Owner, operation: Operation) -> None:
    """Wait, for a bounded time, until all that this one depends on are healthy; then go on anyway."""

    def tell(missing: tuple[str, ...]) -> None:
        owner.waits_for = missing
        if missing and not operation.ended:
            operation.progress("dependencies", f"Waiting for {', '.join(missing)}...")

    owner.note = None
    timeout = owner.facilities.config.formations.dependency_timeout
    without = await owner.facilities.board.wait(owner.id, owner.depends_on, timeout, tell)
    if without:
        owner.note = "started without " + ", ".join(f"{one} ({why})" for one, why in without.items())
        log.warning("started without dependencies", **without)


def started(owner: Owner, run: Run | None = None) -> dict[str, object]:
    """Return what every operation that leaves a formation running says in its result.

    `run` is its process, where that is not the owner's yet.
    """
    run = run or owner.run
    assert run is not None
    return {
        "id": owner.id,
        "formation_id": owner.id,
        "port": run.port,
        "pid": run.instance.pid,
        "version": run.plan.release.semantic,
        "status": "running",
        "restart_count": run.instance.restart_count,
    }


def addresses(owner: Owner, run: Run) -> dict[str, object]:
    """Return where a formation is reached: through us, and its own health check."""
    facilities = owner.facilities
    host = facilities.config.formations.bind_host
    return {
        "url": f"{facilities.server_url}/api/{owner.id}",
        "health_url": f"http://{host}:{run.port}/v1/health",
    }


def attempt_reporter(operation: Operation) -> Callable[[int, int, str], None]:
    """Return what reports each check of a starting process as a step of the operation."""

    def report(attempt: int, most: int, detail: str) -> None:
        if not operation.ended:
            message = f"Health check {attempt}/{most}" + (f": {detail}" if detail else "")
            operation.progress("health_check", message, attempt=attempt, max_attempts=most)

    return report
