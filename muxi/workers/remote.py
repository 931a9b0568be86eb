"""The main process's side of a worker's copy of the routing table: what it has been told, and has said.

It turns changes of the table into messages, and what the worker counts into additions to the
table's own numbers, so that who reads those reads sums. No input and output: `send` has a message sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from muxi.workers import counts
from muxi.workers.messages import Address, End, Publish, Withdraw
from muxi.workers.targets import RemoteCounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxi.registry.routes import Route, RouteTable, Target
    from muxi.workers.messages import Message, Number, Report


class RemoteCopy:
    """See `Copy`. `serving`: whether requests can come to it, so that others must wait for it."""

    def __init__(self, send: Callable[[Message], object]) -> None:
        self.serving = False
        self._send = send
        self._told = self._acknowledged = 0
        self._progress = trio.Event()
        self._targets = RemoteCounts()
        #: By id and draft: the route that was published, and the change by which.
        self._published: dict[tuple[str, bool], tuple[Route, int]] = {}
        self._gauges: dict[Route, tuple[Number, ...]] = {}

    def publish_all(self, routes: RouteTable) -> None:
        """Tell it the table as it is."""
        for draft, table in ((False, routes.live), (True, routes.draft)):
            for route in table.values():
                self.publish(route, draft=draft)

    def publish(self, route: Route, *, draft: bool) -> None:
        self._told += 1
        key, target, address = (route.formation_id, draft), route.target, None
        self._targets.placed(key, target, self._told)
        if target is not None:
            address = Address(target.number, target.host, target.port)
        known = self._published.get(key)
        if known is None or known[0] is not route:
            self._published[key] = route, self._told
        self._send(
            Publish(
                self._told, route.formation_id, draft, route.state, address, route.policy, route.returning
            )
        )

    def withdraw(self, formation_id: str, *, draft: bool) -> None:
        self._told += 1
        self._targets.placed((formation_id, draft), None, self._told)
        known = self._published.pop((formation_id, draft), None)
        if known is not None:
            # No report of it will be taken any more.
            counts.take_back(known[0].traffic, self._gauges.pop(known[0], ()))
        self._send(Withdraw(self._told, formation_id, draft))

    def end(self, target: Target) -> None:
        self._told += 1
        self._send(End(self._told, target.number))

    async def settled(self) -> None:
        """Return once it goes by all that it was told so far, or has no part in it."""
        told = self._told
        while self.serving and self._acknowledged < told:
            await self._progress.wait()

    def note(self, report: Report) -> None:
        """Take what the worker says of targets and traffic."""
        self._targets.told(report.targets, report.update)
        for formation_id, draft, added in report.traffic:
            route, since = self._published.get((formation_id, draft), (None, 0))
            # What is told of an earlier formation of that name is nothing to this one.
            if route is None or report.update < since:
                continue
            counts.add_traffic(route.traffic, added)
            gauges = added[: len(counts.GAUGES)]
            before = self._gauges.get(route)
            self._gauges[route] = gauges if before is None else counts.total(before, gauges)
        self._acknowledged = report.update
        self._move()

    def close(self) -> None:
        """Take back what the worker has under way: it is no more."""
        self.serving = False
        self._targets.close()
        for route, gauges in self._gauges.items():
            counts.take_back(route.traffic, gauges)
        self._gauges.clear()
        self._move()

    def _move(self) -> None:
        self._progress.set()
        self._progress = trio.Event()
