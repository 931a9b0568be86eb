"""Requests that wait for a formation which is not there just now, but will be in a moment.

While a formation starts, restarts, or comes back from a crash, its requests are held: a bounded
number, for a bounded time, in the order in which they came, their bodies unread and their
`Expect: 100-continue` unanswered. When it is there they go on one after the other; nobody polls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from muxi.proxy import answers

if TYPE_CHECKING:
    from muxi.proxy.answers import Answer
    from muxi.proxy.connection import Connection
    from muxi.proxy.paths import Place
    from muxi.registry.routes import Route, Target

#: Seconds until the end of a process that takes no connections any more must be known to its owner.
NOTICE: Final = 1.0


async def hold(client: Connection, route: Route, refused: Target | None = None) -> Target | None:
    """Wait for the route's target; None when the request is to be refused.

    With `refused`, a target that takes no connection: its process may have ended a moment ago, so
    wait for what its owner makes of that. A client that leaves meanwhile loses its place at once.
    """
    policy, context = route.policy, client.context
    if not _expecting(route, refused):
        return route.target
    most = -(-policy.hold_requests // context.processes)
    if context.closing or not policy.hold_timeout or len(route.waiting) >= most:
        return None
    route.traffic.holding += 1
    route.traffic.held += 1
    try:
        with trio.move_on_after(NOTICE if refused is not None else policy.hold_timeout) as scope:
            client.on_hangup(client.scope.cancel)
            client.on_drain = scope.cancel
            await _in_turn(route, refused, scope, policy.hold_timeout)
    finally:
        route.traffic.holding -= 1
        client.on_drain = None
        client.on_hangup(None)
    return None if _expecting(route, refused) else route.target


def refusal(place: Place, route: Route) -> Answer:
    """Give the answer to a request that was not held, or in vain."""
    if route.withdrawn:
        return answers.unknown(place.name, draft=place.draft)
    return answers.unavailable(place.name, route.state, draft=place.draft)


def _expecting(route: Route, refused: Target | None) -> bool:
    """Whether there is reason to wait."""
    if route.target is None:
        return route.returning
    return route.target is refused


async def _in_turn(route: Route, refused: Target | None, scope: trio.CancelScope, timeout: float) -> None:
    """Wait until there is no more reason to, and all who came before have gone on."""
    place, waiting = object(), route.waiting
    waiting[place] = trio.Event()
    try:
        while _expecting(route, refused) or next(iter(waiting)) is not place:
            await waiting[place].wait()
            # A new event in the old place: the order is that of coming.
            waiting[place] = trio.Event()
            if refused is not None and route.target is not refused:
                scope.deadline, refused = trio.current_time() + timeout, None
    finally:
        del waiting[place]
        for first in waiting.values():
            first.set()
            break
