"""A worker's copy of the routing table: changed by messages only, in their order.

A target that has lost its place in the table is still counted while something is under way to it,
and each end of a request there is told at once: in the main process somebody waits for the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxi.registry.routes import RouteTable, Target
from muxi.workers.counts import difference, traffic_numbers
from muxi.workers.messages import Address, End, Publish, Withdraw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from muxi.registry.routes import Route
    from muxi.workers.messages import Number

Key = tuple[str, bool]


class RemoteTarget(Target):
    """A target of the main process's table, as this process sees it."""

    __slots__ = ("_changed",)

    def __init__(self, address: Address, changed: Callable[[], None]) -> None:
        super().__init__(address.host, address.port, number=address.number)
        self._changed = changed

    def emptied(self) -> None:
        """Say that a request has ended, while it is no more in the table."""
        self._changed()


class Replica:
    """Applies what the main process says of its table to `routes`; tells what is counted here.

    `changed` is called when there is something to report at once.
    """

    def __init__(self, routes: RouteTable, changed: Callable[[], None]) -> None:
        self.routes = routes
        #: The last change that is in force.
        self.update = 0
        self._changed = changed
        self._targets: dict[int, RemoteTarget] = {}
        self._told: dict[int, tuple[int, int, int]] = {}
        #: What has been told of each route's traffic. A formation that comes again begins anew.
        self._traffic: dict[Key, tuple[Route, tuple[Number, ...]]] = {}

    def apply(self, message: Publish | Withdraw | End) -> None:
        """Put one change in force."""
        if isinstance(message, End):
            target = self._targets.get(message.number)
            if target is not None:
                self.routes.end(target)
        elif isinstance(message, Publish):
            self._publish(message)
        else:
            route = self._route(message.formation_id, draft=message.draft)
            self._retire(None if route is None else route.target)
            self.routes.withdraw(message.formation_id, draft=message.draft)
        self.update = message.update
        self._changed()

    def _publish(self, message: Publish) -> None:
        route = self._route(message.formation_id, draft=message.draft)
        before = None if route is None else route.target
        target = None if message.target is None else self._target(message.target)
        if before is not target:
            self._retire(before)
        self.routes.publish(
            message.formation_id,
            message.state,
            target,
            message.policy,
            returning=message.returning,
            draft=message.draft,
        )
        route = self._route(message.formation_id, draft=message.draft)
        assert route is not None
        # A limit on all of its requests can be kept only where all of them are.
        route.here = not (message.policy.max_concurrent or message.policy.rate)

    def _route(self, formation_id: str, *, draft: bool) -> Route | None:
        table = self.routes.draft if draft else self.routes.live
        return table.get(formation_id.encode())

    def _target(self, address: Address) -> RemoteTarget:
        target = self._targets.get(address.number)
        if target is None:
            target = self._targets[address.number] = RemoteTarget(address, self._changed)
        target.drain_deadline = None
        return target

    def _retire(self, target: Target | None) -> None:
        if target is not None:
            # From now on each end of a request is told: see `Target.emptied`.
            target.drain_deadline = 0.0

    def targets(self) -> Iterator[tuple[int, int, int, int]]:
        """Tell what is under way to which target, where that has changed; forget those that are over."""
        for number, target in tuple(self._targets.items()):
            now = target.in_flight, target.streams, target.tunnels
            if now != self._told.get(number, (0, 0, 0)):
                self._told[number] = now
                yield (number, *now)
            if target.draining and not target.in_flight:
                del self._targets[number]
                self._told.pop(number, None)

    def traffic(self) -> Iterator[tuple[str, bool, tuple[Number, ...]]]:
        """Tell what has been added to the traffic of which formation since this was last asked."""
        told, self._traffic = self._traffic, {}
        for draft, table in ((False, self.routes.live), (True, self.routes.draft)):
            for route in table.values():
                key = route.formation_id, draft
                now = traffic_numbers(route.traffic)
                known = told.get(key)
                before = known[1] if known is not None and known[0] is route else None
                self._traffic[key] = route, now
                added = difference(now, before)
                if any(added):
                    yield (route.formation_id, draft, added)
