"""Server-sent events as the clients read them (HTML Standard, section 9.2).

The CLI keeps only the last `data:` line of an event and the TypeScript SDK drops event names, so
each event has exactly one data line, and its name again as `type` in it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import structlog
import trio
from quart import Response, request

from muxi.api.task_body import TaskBody

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

_log = structlog.get_logger()

KEEPALIVE = b": keep-alive\n\n"


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: its name and the fields of its JSON object."""

    name: str
    data: Mapping[str, object]

    def encode(self) -> bytes:
        data = dict(self.data) | {"type": self.name}
        if isinstance(data.get("progress"), float):  # a float ends the Go client's stream
            data["progress"] = int(data["progress"])  # type: ignore[call-overload]
        if self.name == "complete":  # who has no event names knows `progress` by its `stage`
            data.pop("stage", None)
        return f"event: {self.name}\ndata: {json.dumps(data, default=str)}\n\n".encode()


Emit: TypeAlias = "Callable[[ServerEvent], Awaitable[None]]"
Produce: TypeAlias = "Callable[[Emit], Awaitable[None]]"


class EventStream(TaskBody):
    """An answer's body made of the events that `produce` emits, until it returns.

    `produce` runs in a task of its own, which ends when the client leaves; between events that are
    further apart than `keepalive` seconds goes a comment. When it fails, the client gets an
    `error` event, because its status line is long gone.
    """

    def __init__(self, produce: Produce, keepalive: float) -> None:
        super().__init__()
        self._produce = produce
        self._keepalive = keepalive
        self._send, self._receive = trio.open_memory_channel[ServerEvent](0)

    async def __anext__(self) -> bytes:
        with trio.move_on_after(self._keepalive):
            try:
                return (await self._receive.receive()).encode()
            except trio.EndOfChannel:
                raise StopAsyncIteration from None
        return KEEPALIVE

    async def _run(self) -> None:
        async with self._send:
            try:
                await self._produce(self._send.send)
            except Exception:  # noqa: BLE001 - told to the client, and logged
                _log.exception("event stream failed")
                await self._send.send(DEFECT)


DEFECT = ServerEvent(
    "error",
    {
        "error": "InternalError",
        "message": "The server failed while telling of this; its log has the details.",
        "stage": "streaming",
    },
)


def stream_response(stream: EventStream) -> Response:
    response = Response(stream, 200, content_type="text/event-stream")
    response.timeout = None
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Accel-Buffering"] = "no"
    if request.http_version in {"1.0", "1.1"}:  # HTTP/2 forbids it (RFC 9113 section 8.2.2)
        response.headers["Connection"] = "keep-alive"
    return response


def wants_stream() -> bool:
    """Tell whether the client asked for events: by its Accept header, or by a path in /stream."""
    if request.method == "HEAD":
        return False
    return (
        request.path.endswith("/stream") or "text/event-stream" in request.headers.get("Accept", "").lower()
    )


def is_python_sdk() -> bool:
    """Tell whether the client is the Python SDK, which looks at no status in its streaming calls."""
    return request.headers.get("X-Muxi-SDK", "").lower().startswith("python/")
