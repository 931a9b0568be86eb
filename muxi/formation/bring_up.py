"""From a release on disk to a healthy process: what deploy, start, restart and restore share."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from muxi.formation.manifest import read_manifest
from muxi.runtime.native import native_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.formation.manifest import Manifest
    from muxi.formation.operation import Operation
    from muxi.formation.owner import Owner
    from muxi.formation.releases import Release
    from muxi.process.spec import ProcessSpec


async def bring_up(owner: Owner, operation: Operation, release: Release, *, persistent: bool) -> None:
    """Start a release and wait until it is healthy, reporting each step.

    `persistent`: the process is kept and tried again by policy although this start failed.
    Raises MuxiError, most often FormationFailed with exit, last probe and log tail.
    """
    operation.progress("resolving_runtime", "Resolving runtime...")
    manifest = await trio.to_thread.run_sync(read_manifest, release.path)
    owner.proxy_options = manifest.proxy
    spec = _spec(owner, manifest, release)
    operation.progress("resolving_runtime", "Resolved runtime: native", version="native")
    operation.progress("spawning", "Starting formation process...")
    await owner.mark(spec.token)
    await owner.launch(spec, persistent=persistent, on_attempt=_reporter(operation))
    operation.progress("health_check", "Waiting for the formation to become healthy...")
    assert owner.instance is not None
    await owner.instance.wait_healthy()


def started(owner: Owner) -> dict[str, object]:
    """Return what every operation that leaves a formation running says in its result."""
    record, instance = owner.record, owner.instance
    assert record is not None
    return {
        "id": owner.id,
        "formation_id": owner.id,
        "port": record.port,
        "pid": instance.pid if instance is not None else None,
        "version": record.semantic,
        "status": "running",
        "restart_count": record.restart_count,
    }


def _spec(owner: Owner, manifest: Manifest, release: Release) -> ProcessSpec:
    facilities, record = owner.facilities, owner.record
    assert record is not None
    logs = facilities.log_files(owner.id)
    spec = native_spec(
        manifest,
        release.path,
        facilities.releases(owner.id).state,
        process_id=owner.id,
        host=facilities.config.formations.bind_host,
        port=record.port,
        server_url=facilities.server_url,
        stdout=logs.stdout,
        stderr=logs.stderr,
        defaults=facilities.health_check(),
        stop_timeout=facilities.config.formations.deployment.force_kill_timeout,
        search_path=facilities.search_path,
        extra_env={},
    )
    return replace(spec, token=secrets.token_hex(16))


def _reporter(operation: Operation) -> Callable[[int, int, str], None]:
    def report(attempt: int, most: int, detail: str) -> None:
        if not operation.ended:
            message = f"Health check {attempt}/{most}" + (f": {detail}" if detail else "")
            operation.progress("health_check", message, attempt=attempt, max_attempts=most)

    return report
