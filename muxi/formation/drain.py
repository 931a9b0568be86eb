"""Letting what is under way to a process end before the process does.

The route has lost the target by then, so nothing new comes. What is still there when the budget is
spent is ended: WebSockets get a close frame, responses are cut. Nothing to wait for, no wait.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from muxi.formation.view import DrainView

if TYPE_CHECKING:
    from muxi.formation.operation import Operation
    from muxi.registry.routes import RouteTable, Target

REPORT_SECONDS = 1.0
"""The pause between two reports of how far it is."""
END_SECONDS = 3.0
"""How long the close of WebSockets, which both sides take part in, may take after the budget."""


async def drain(target: Target, routes: RouteTable, budget: float, operation: Operation) -> None:
    """Wait for up to `budget` seconds until nothing is under way, then end what is left.

    Cancelled and called again it goes on with the budget that was left.
    """
    deadline = target.drain(budget)
    # Until then other processes may still send new requests to it.
    await routes.settled()
    if not target.in_flight:
        routes.end(target)
        return
    while target.in_flight and trio.current_time() < deadline:
        view = drain_view(target)
        operation.progress("draining", _message(view), **_fields(view))
        with trio.move_on_after(REPORT_SECONDS):
            await target.drained(budget)
    operation.progress("stopping", "Stopping formation...")
    routes.end(target)
    with trio.move_on_after(END_SECONDS):
        await target.empty()


def drain_view(target: Target) -> DrainView:
    """Say how far the drain of a target is."""
    left = (target.drain_deadline or 0.0) - trio.current_time()
    return DrainView(
        in_flight=target.in_flight,
        streams=target.streams,
        tunnels=target.tunnels,
        seconds_left=max(0, math.ceil(left)),
    )


def _message(view: DrainView) -> str:
    noun = "request" if view.in_flight == 1 else "requests"
    return f"Waiting for {view.in_flight} {noun} to end, {view.seconds_left} s at most..."


def _fields(view: DrainView) -> dict[str, int]:
    return {
        "in_flight": view.in_flight,
        "streams": view.streams,
        "tunnels": view.tunnels,
        "seconds_left": view.seconds_left,
    }
