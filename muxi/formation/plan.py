"""What it takes to run a release: read from its manifest, before anything is started or ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from muxi.formation.manifest import read_manifest
from muxi.formation.resources import process_limits
from muxi.runtime.native import native_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.formation.facilities import Facilities
    from muxi.formation.manifest import Manifest
    from muxi.formation.releases import Release
    from muxi.process.spec import ProcessSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """`spec` makes the specification for a port, without a token. Raises MuxiError."""

    release: Release
    manifest: Manifest
    spec: Callable[[int], ProcessSpec]


async def read_plan(facilities: Facilities, formation_id: str, release: Release) -> Plan:
    """Read a release's manifest. Raises MuxiError when it can't be read or can't be run here."""
    manifest = await trio.to_thread.run_sync(read_manifest, release.path)

    def spec(port: int) -> ProcessSpec:
        return _spec(facilities, formation_id, manifest, release, port)

    spec(0)
    return Plan(release, manifest, spec)


def _spec(
    facilities: Facilities, formation_id: str, manifest: Manifest, release: Release, port: int
) -> ProcessSpec:
    logs = facilities.log_files(formation_id)
    return native_spec(
        manifest,
        release.path,
        facilities.releases(formation_id).state,
        process_id=formation_id,
        host=facilities.config.formations.bind_host,
        port=port,
        server_url=facilities.server_url,
        stdout=logs.stdout,
        stderr=logs.stderr,
        defaults=facilities.health_check(),
        stop_timeout=facilities.config.formations.deployment.force_kill_timeout,
        limits=process_limits(manifest.resources, facilities.config.formations),
        search_path=facilities.search_path,
        extra_env={},
    )
