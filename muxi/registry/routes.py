"""Where requests go: the table that formations write and the proxy reads, on one event loop.

A route exists from the moment a formation is known until it is deleted; it has a target only
while something there can answer. So the proxy tells "no such formation" (no route) from "not
running" (no target) without asking anyone. Both sides live on one thread and change it between
awaits only, so there is nothing to lock and a switch is one assignment.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Protocol

import trio

from muxi.registry.rate import TokenBucket
from muxi.registry.traffic import Answers, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable

OnDisconnect = Literal["cancel", "continue"]


@dataclass(frozen=True, slots=True)
class RoutePolicy:
    """How the proxy treats a formation's requests. Times are seconds, sizes bytes; 0 is no limit.

    The manifest says what differs from the server's defaults (`muxi.formation.policy`).
    """

    #: Requests under way at once.
    max_concurrent: int = 0
    #: The largest request body.
    max_body: int = 0
    #: Requests a second on average, and how many may come at once.
    rate: float = 0.0
    burst: int = 0
    #: Requests that wait while the formation can't answer, and how long; a time of 0: none waits.
    hold_requests: int = 100
    hold_timeout: float = 30.0
    #: The silence in an event stream after which a comment is sent; 0: never.
    stream_ping: float = 0.0
    #: The silence after which an event stream, another response, a tunnel is ended.
    stream_idle_timeout: float = 0.0
    response_idle_timeout: float = 0.0
    tunnel_idle_timeout: float = 0.0
    #: What becomes of the exchange when the client leaves, and how long it may go on without it.
    on_disconnect: OnDisconnect = "cancel"
    continue_timeout: float = 600.0
    #: Whether responses that don't allow any web site to read them are made to.
    cors: bool = True


DEFAULT_POLICY: Final = RoutePolicy()


@dataclass(slots=True, eq=False)
class Target:
    """One release's running process, as the proxy sees it: an address and what is in flight to it.

    Where other processes proxy too, what is in flight there is part of the sums (see `RouteTable.copies`).
    Two releases overlap during an update; each has a target of its own, and the proxy keeps its
    upstream connections per target, so none is ever reused for the other release.
    """

    host: str
    port: int
    #: Requests under way; the event streams and tunnels among them.
    in_flight: int = 0
    streams: int = 0
    tunnels: int = 0
    #: When it is to be empty, on trio's clock; None while it serves. See `drain`.
    drain_deadline: float | None = None
    #: By which copies of the table know it; 0 until it has been published.
    number: int = 0
    _emptied: trio.Event = field(default_factory=trio.Event)

    @property
    def draining(self) -> bool:
        """Whether it is to get no new requests, and will end when those under way have."""
        return self.drain_deadline is not None

    def drain(self, budget: float) -> float:
        """Begin to drain, and give the deadline: `budget` seconds from now, or the earlier one."""
        deadline = trio.current_time() + budget
        if self.drain_deadline is None or deadline < self.drain_deadline:
            self.drain_deadline = deadline
        return self.drain_deadline

    async def drained(self, budget: float) -> bool:
        """Drain; return once nothing is under way (True), or the budget is spent (False)."""
        with trio.move_on_at(self.drain(budget)):
            await self.empty()
        return not self.in_flight

    async def empty(self) -> None:
        """Return once nothing is under way to it; only for one that drains."""
        while self.in_flight:
            await self._emptied.wait()

    def emptied(self) -> None:
        """Say that a request has ended; called by the proxy while this drains."""
        self._emptied.set()
        self._emptied = trio.Event()


@dataclass(slots=True, eq=False)
class Route:
    """A formation's entry: its id, its state as clients know it, and its target if it can answer.

    `policy` is how its requests are treated, `traffic` what has been counted of them. `returning`:
    it has no target, but will soon have one without anybody's doing. `waiting` are the requests
    held until then, in the order in which they came; see `muxi.proxy.gate`.
    """

    formation_id: str
    state: str
    target: Target | None = None
    policy: RoutePolicy = DEFAULT_POLICY
    traffic: Traffic = field(default_factory=Traffic)
    #: Whether the policy limits requests as they come, and how often they may.
    limited: bool = False
    bucket: TokenBucket | None = None
    returning: bool = False
    withdrawn: bool = False
    #: Whether its requests are served by this process; else the main process does.
    here: bool = True
    waiting: dict[object, trio.Event] = field(default_factory=dict)

    def govern(self, policy: RoutePolicy) -> None:
        """Make this its policy; what the rate limit has counted is forgotten."""
        self.policy = policy
        self.limited = bool(policy.max_concurrent or policy.max_body or policy.rate)
        self.bucket = TokenBucket(policy.rate, policy.burst) if policy.rate else None

    def wake(self) -> None:
        """Let those who wait look again."""
        for turn in self.waiting.values():
            turn.set()


class Copy(Protocol):
    """A copy of the table in another process. It is told of each change, in order and at once."""

    def publish(self, route: Route, *, draft: bool) -> None: ...

    def withdraw(self, formation_id: str, *, draft: bool) -> None: ...

    def end(self, target: Target) -> None: ...

    async def settled(self) -> None:
        """Return once it has taken all that it was told of, or is no more."""
        ...


@dataclass(slots=True)
class RouteTable:
    """Live formations under `/api/{id}` and `/mcp/{id}`, drafts under `/draft/{id}`.

    Keys are the id's bytes as they stand in a request's path, so that a look-up needs no decoding.
    """

    live: dict[bytes, Route] = field(default_factory=dict)
    draft: dict[bytes, Route] = field(default_factory=dict)
    #: What ends the requests to a target; whoever serves them adds itself.
    enders: list[Callable[[Target], None]] = field(default_factory=list)
    #: Other processes that proxy, each by its own copy.
    copies: list[Copy] = field(default_factory=list)
    #: Of formations that are gone: what their requests came to, and those with some still under way.
    _past: Answers = field(default_factory=Answers)
    _leaving: list[Traffic] = field(default_factory=list)
    _targets: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def publish(
        self,
        formation_id: str,
        state: str,
        target: Target | None,
        policy: RoutePolicy | None = None,
        *,
        returning: bool = False,
        draft: bool = False,
    ) -> None:
        """Set a live formation's, or a draft's, state and target, creating its route when it is new.

        A policy of None keeps the one it has. `returning`: a target will be there soon, so requests
        are held until then.
        """
        table = self.draft if draft else self.live
        route = table.get(formation_id.encode())
        if route is None:
            route = table[formation_id.encode()] = Route(formation_id, state)
        if policy is not None and policy != route.policy:
            route.govern(policy)
        if target is not None and not target.number:
            target.number = next(self._targets)
        route.state, route.target, route.returning = state, target, returning
        if route.waiting:
            route.wake()
        for copy in self.copies:
            copy.publish(route, draft=draft)

    def withdraw(self, formation_id: str, *, draft: bool = False) -> None:
        """Forget a live formation, or a draft; requests for it are answered 404 from now on."""
        table = self.draft if draft else self.live
        route = table.pop(formation_id.encode(), None)
        if route is not None:
            route.target, route.returning, route.withdrawn = None, False, True
            route.wake()
            self._close_accounts()
            self._leaving.append(route.traffic)
            for copy in self.copies:
                copy.withdraw(formation_id, draft=draft)

    def answers(self) -> Answers:
        """Sum up what all requests came to since the start, also those to formations that are gone."""
        self._close_accounts()
        found = self._past
        for traffic in self._leaving:
            found = found.plus(traffic)
        for route in (*self.live.values(), *self.draft.values()):
            found = found.plus(route.traffic)
        return found

    def _close_accounts(self) -> None:
        """Add up what formations had that are gone, with nothing under way any more."""
        for traffic in tuple(self._leaving):
            if not traffic.in_flight:
                self._past = self._past.plus(traffic)
                self._leaving.remove(traffic)

    def end(self, target: Target) -> None:
        """End what is still under way to a target: tunnels in good order, the rest is cut."""
        for ender in self.enders:
            ender(target)
        for copy in self.copies:
            copy.end(target)

    async def settled(self) -> None:
        """Return once every process goes by what has been changed so far; without copies at once."""
        for copy in tuple(self.copies):
            await copy.settled()
