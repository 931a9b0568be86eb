"""Where requests go: the table that formations write and the proxy reads, on one event loop.

A route exists from the moment a formation is known until it is deleted; it has a target only
while something there can answer. So the proxy tells "no such formation" (no route) from "not
running" (no target) without asking anyone. Both sides live on one thread and change it between
awaits only, so there is nothing to lock and a switch is one assignment.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Target:
    """One release's running process, as the proxy sees it: an address and what is in flight to it.

    Two releases overlap during an update; each has a target of its own, and the proxy keeps its
    upstream connections per target, so none is ever reused for the other release.
    """

    host: str
    port: int
    in_flight: int = 0


@dataclass(slots=True, eq=False)
class Route:
    """A formation's entry: its id, its state as clients know it, and its target if it can answer."""

    formation_id: str
    state: str
    target: Target | None = None


@dataclass(slots=True)
class RouteTable:
    """Live formations under `/api/{id}` and `/mcp/{id}`, drafts under `/draft/{id}`.

    Keys are the id's bytes as they stand in a request's path, so that a look-up needs no decoding.
    """

    live: dict[bytes, Route] = field(default_factory=dict)
    draft: dict[bytes, Route] = field(default_factory=dict)

    def publish(self, formation_id: str, state: str, target: Target | None) -> None:
        """Set a live formation's state and target, creating its route when it is new."""
        route = self.live.get(formation_id.encode())
        if route is None:
            self.live[formation_id.encode()] = Route(formation_id, state, target)
        else:
            route.state, route.target = state, target

    def withdraw(self, formation_id: str) -> None:
        """Forget a live formation; requests for it are answered 404 from now on."""
        self.live.pop(formation_id.encode(), None)
