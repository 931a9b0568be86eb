"""The code runner beside the formations, as the server's configuration has it now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from muxi.formation.resources import ResourceOptions, process_limits
from muxi.formation.run import identity_of
from muxi.process.adopted import adopt
from muxi.process.identity import stop_leftover, stop_marked
from muxi.rce.house import House
from muxi.rce.reach import LOOPBACK
from muxi.rce.settings import PROCESS_ID, RceSettings
from muxi.rce.sidecar import Sidecar
from muxi.runtime.runtime import Surroundings

if TYPE_CHECKING:
    from muxi.formation.facilities import Facilities
    from muxi.process.handle import Handle
    from muxi.process.spec import ProcessSpec
    from muxi.rce.record import RecordFile
    from muxi.registry.records import ProcessRecord


def make_sidecar(facilities: Facilities, file: RecordFile) -> Sidecar:
    """Make it with what formations have: their limits, their health checks, their policy of restarts."""

    def surroundings(port: int) -> Surroundings:
        settings, logs = facilities.config.formations, facilities.log_files(PROCESS_ID)
        return Surroundings(
            process_id=PROCESS_ID,
            host=LOOPBACK,
            port=port,
            server_url=facilities.server_url,
            stdout=logs.stdout,
            stderr=logs.stderr,
            defaults=facilities.health_check(),
            stop_timeout=settings.deployment.force_kill_timeout,
            search_path=facilities.search_path,
            limits=replace(process_limits(ResourceOptions(), settings), memory_soft=0),
        )

    async def take_over(record: ProcessRecord, spec: ProcessSpec) -> Handle | None:
        identity = identity_of(record)
        return None if identity is None else adopt(identity, record.started_at, spec, facilities.confiner)

    async def end_left(record: ProcessRecord) -> bool:
        grace, identity = facilities.config.formations.deployment.force_kill_timeout, identity_of(record)
        marked = record.token_sha256
        ended = await (stop_marked(marked, grace) if identity is None else stop_leftover(identity, grace))
        facilities.confiner.dismiss(record.pid)
        return ended

    house = House(
        runtimes=facilities.runtimes,
        confiner=facilities.confiner,
        ports=facilities.ports,
        search_path=facilities.search_path,
        spawn=facilities.spawn,
        take_over=take_over,
        end_left=end_left,
        surroundings=surroundings,
        policy=facilities.restart_policy,
    )
    return Sidecar(RceSettings.of(facilities.config), house, file)
