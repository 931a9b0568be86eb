"""The code runner beside the formations, as the server's configuration has it now."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from muxi.formation.adopting import end_process, take_over
from muxi.formation.resources import ResourceOptions, process_limits
from muxi.formation.run import entry_of
from muxi.formation.snapshot import usage_of
from muxi.rce.house import House
from muxi.rce.reach import LOOPBACK
from muxi.rce.settings import PROCESS_ID, RceSettings
from muxi.rce.sidecar import Sidecar
from muxi.runtime.apptainer_engine import EngineFinder
from muxi.runtime.runtime import Surroundings

if TYPE_CHECKING:
    from muxi.formation.facilities import Facilities
    from muxi.rce.record import RecordFile


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

    house = House(
        runtimes=facilities.runtimes,
        images=facilities.library.rce,
        engines=EngineFinder(facilities.search_path),
        ports=facilities.ports,
        may_download=lambda: facilities.config.runtime.auto_download,
        spawn=facilities.spawn,
        take_over=partial(take_over, facilities),
        end_left=partial(end_process, facilities),
        recorded=entry_of,
        usage=partial(usage_of, facilities.confiner),
        surroundings=surroundings,
        policy=facilities.restart_policy,
    )
    return Sidecar(RceSettings.of(facilities.config), house, file)
