"""What it takes to run a release: its manifest, and its runtime prepared, before anything is started."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import trio

from muxi.formation.manifest import read_manifest
from muxi.formation.resources import process_limits
from muxi.runtime.runtime import Request, Surroundings, tell_nobody

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from muxi.formation.facilities import Facilities
    from muxi.formation.manifest import Manifest
    from muxi.formation.releases import Release
    from muxi.process.spec import ProcessSpec
    from muxi.runtime.runtime import Prepared, Report


@dataclass(frozen=True, slots=True)
class Plan:
    """`spec` makes the specification for a port, without a token. Raises MuxiError."""

    release: Release
    manifest: Manifest
    prepared: Prepared
    spec: Callable[[int], ProcessSpec]

    @property
    def pinned(self) -> Release:
        """The release, with what it was found to run on."""
        return replace(self.release, pin=self.prepared.pin)


async def read_plan(
    facilities: Facilities, formation_id: str, release: Release, report: Report = tell_nobody
) -> Plan:
    """Read a release's manifest, and have its runtime at hand, which may take long the first time.

    Raises MuxiError when it can't be read or can't be run here.
    """
    manifest = await trio.to_thread.run_sync(read_manifest, release.path)
    request = Request(
        program=manifest,
        release_dir=release.path,
        state_dir=facilities.releases(formation_id).state,
        pin=release.pin,
        report=report,
    )
    prepared = await facilities.runtimes.prepare(request)
    told = await extra_variables(facilities, manifest, prepared.pin.runtime)

    def spec(port: int) -> ProcessSpec:
        return prepared.spec(surroundings(facilities, formation_id, manifest, told(), port))

    spec(0)
    return Plan(release, manifest, prepared, spec)


def surroundings(
    facilities: Facilities, formation_id: str, manifest: Manifest, extra: Mapping[str, str], port: int
) -> Surroundings:
    """Return what the server gives to a live formation's process."""
    logs = facilities.log_files(formation_id)
    return Surroundings(
        process_id=formation_id,
        host=facilities.config.formations.bind_host,
        port=port,
        server_url=facilities.server_url,
        stdout=logs.stdout,
        stderr=logs.stderr,
        defaults=facilities.health_check(),
        stop_timeout=facilities.config.formations.deployment.force_kill_timeout,
        search_path=facilities.search_path,
        extra_env=extra,
        limits=process_limits(manifest.resources, facilities.config.formations),
    )


async def extra_variables(
    facilities: Facilities, manifest: Manifest, runtime: str
) -> Callable[[], Mapping[str, str]]:
    """Return what gives the further variables of a formation at each start of it.

    They are how it reaches the server's code runner, unless it has its own, and that nothing is to
    be reported of it, if somebody objects to that.
    """
    told: dict[str, str] = {}
    if manifest.kind == "muxi" and "MUXI_TELEMETRY" not in manifest.env:
        silent = await trio.to_thread.run_sync(facilities.objects_to_telemetry)
        told = {"MUXI_TELEMETRY": "0"} if silent else {}

    def variables() -> Mapping[str, str]:
        if manifest.own_rce or facilities.sidecar is None:
            return told
        return {**told, **facilities.sidecar.variables(runtime)}

    return variables
