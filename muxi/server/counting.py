"""What is counted for the anonymous reports: each number, and where in the server it comes from."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from muxi.telemetry.machine import facts
from muxi.telemetry.reporter import Reporter
from muxi.telemetry.totals import USAGE, Totals

if TYPE_CHECKING:
    from muxi.formation.facilities import Facilities, Happening
    from muxi.formation.fleet import Fleet
    from muxi.formation.operation import Kind, Operation
    from muxi.telemetry.report import Facts
    from muxi.telemetry.totals import Numbers

DONE: Final[dict[Kind, tuple[str, ...]]] = {
    "deploy": ("formations.deployed", "deployments.successful"),
    "update": ("deployments.updates", "deployments.successful"),
    "rollback": ("deployments.rollbacks",),
    "delete": ("formations.deleted",),
}
FAILED: Final[frozenset[Kind]] = frozenset({"deploy", "update", "rollback"})
NO_FAILURE: Final = frozenset({"Cancelled", "ShuttingDown"})
"""How an operation ends that somebody did not want to go on."""
SHOWN: Final = "GET /rpc/server/telemetry"
HAPPENED: Final[dict[Happening, str]] = {
    "crash": "health.crashes",
    "restart": "health.auto_restarts",
    "failed check": "health.health_check_failures",
}


class Counting:
    """Counts what happens with formations and the management API, and reports it.

    Take `facilities` before any formation is there.
    """

    def __init__(self, facilities: Facilities, fleet: Fleet, started_at: float) -> None:
        self._facilities = facilities
        self._fleet = fleet
        self._started_at = started_at
        self._totals = Totals(self._requests)
        self._totals.add("server.starts")
        facilities.history.watchers.append(self._operation_ended)
        facilities.happened = self._happened
        self.reporter = Reporter(self._totals, self._facts, lambda: facilities.config.telemetry, os.environ)

    def used(self, route: str) -> None:
        """Count a use of a route of the management API; to look at the next report leaves it as it is."""
        if route != SHOWN:
            self._totals.add(USAGE + route)

    async def standing(self) -> dict[str, object]:
        """Tell whether reports are sent, and what the next one would be."""
        return (await self.reporter.standing()).as_dict()

    def _operation_ended(self, operation: Operation) -> None:
        if operation.error is None:
            for name in DONE.get(operation.kind, ()):
                self._totals.add(name)
        elif operation.kind in FAILED and operation.error.code not in NO_FAILURE:
            self._totals.add("deployments.failed")

    def _happened(self, happening: Happening) -> None:
        self._totals.add(HAPPENED[happening])

    def _requests(self) -> Numbers:
        answers = self._facilities.routes.answers()
        return {
            "requests.total": answers.total,
            "requests.errors_4xx": answers.errors_4xx,
            "requests.errors_5xx": answers.errors_5xx,
            "requests.answered": answers.timed,
            "requests.seconds": answers.seconds,
        }

    def _facts(self) -> Facts:
        ports = self._fleet.ports()
        return facts(
            uptime=max(0.0, time.time() - self._started_at),
            active=self._fleet.counts().running,
            ports=ports.total,
            ports_allocated=ports.allocated,
        )
