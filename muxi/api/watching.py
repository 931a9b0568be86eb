"""Telling a client of an operation: its end as one answer, or its steps as they happen."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from muxi.api.answers import success
from muxi.api.events import EventStream, ServerEvent, stream_response, wants_stream
from muxi.api.exchange import current

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quart import Response

    from muxi.api.events import Emit
    from muxi.api.exchange import Exchange
    from muxi.formation.operation import Event, Operation


async def answer(operation: Operation, keepalive: float, *, status: int = 200, **more: object) -> Response:
    """Answer with the operation's steps if the client wants events, else with its end.

    A client that leaves stops watching; the operation goes on. `more` are fields for the plain
    answer, under those of the result. Raises the operation's own error in the plain case.
    """
    exchange = current()
    exchange.begin_operation(operation, status)
    if wants_stream():
        return stream_response(EventStream(_Watch(operation, exchange), keepalive))
    return await _end_of(operation, status, more)


async def answer_plainly(operation: Operation, *, status: int = 200, **more: object) -> Response:
    """Answer when the operation has ended, also to clients that said they take events."""
    current().begin_operation(operation, status)
    return await _end_of(operation, status, more)


async def _end_of(operation: Operation, status: int, more: Mapping[str, object]) -> Response:
    result = await operation.wait()
    both = {"id": operation.formation_id, "formation_id": operation.formation_id}
    return success({**both, **more, **result}, status)


class _Watch:
    """Emits an operation's events, and notes in the exchange how it ended for this client."""

    def __init__(self, operation: Operation, exchange: Exchange) -> None:
        self._operation = operation
        self._exchange = exchange

    async def __call__(self, emit: Emit) -> None:
        self._exchange.outcome = "client left"
        async with aclosing(self._operation.watch()) as events:  # type: ignore[type-var]
            async for event in events:
                await emit(ServerEvent(event.name, self._fields(event)))
                self._note(event)

    def _fields(self, event: Event) -> dict[str, object]:
        if event.name == "complete":
            return {"formation_id": self._operation.formation_id, **event.data}
        if event.name == "error":  # the CLI cuts its message by the stage
            return {**event.data, "stage": event.data.get("stage") or self._operation.stage}
        return dict(event.data)

    def _note(self, event: Event) -> None:
        if event.name == "complete":
            self._exchange.outcome = "complete"
        elif event.name == "error":
            error = self._operation.error
            self._exchange.outcome = f"error: {event.data.get('error')}"
            self._exchange.status = error.status if error is not None else 500
