"""What a formation, or a development run, wrote to its output and error: the end of it, or as it comes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio
from quart import Response, request

from muxi.api.answers import success
from muxi.api.events import EventStream, ServerEvent, stream_response, wants_stream
from muxi.api.exchange import current
from muxi.api.formations import ONE
from muxi.api.parameters import MOST_BYTES, line_count, wanted_streams, wants_draft, wants_follow
from muxi.api.routing import Endpoint
from muxi.process.output import follow, tail
from muxi.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from muxi.api.events import Emit
    from muxi.api.parts import ApiParts
    from muxi.formation.view import LogFiles
    from muxi.process.output import Line

DELETED = {"reason": "deleted", "message": "The formation was deleted."}
RUN_ENDED = {"reason": "ended", "message": "The run has ended."}


class LogRoutes:
    """`…/logs` with `lines` or `limit`, `stream`, `follow` and `draft`, and `…/logs/stream`."""

    def __init__(self, parts: ApiParts) -> None:
        self._fleet = parts.fleet
        self._dev = parts.dev
        self._keepalive = parts.settings.keepalive_interval

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (
            Endpoint("GET", f"{ONE}/logs", self.logs),
            Endpoint("GET", f"{ONE}/logs/stream", self.logs),
        )

    async def logs(self, formation_id: str) -> Response:
        """Answer with the last lines, or follow when the client asks for that in any way."""
        files, ended, end = await self._find(formation_id)
        paths: dict[str, Path] = {name: getattr(files, name) for name in wanted_streams(request.args)}
        if wants_stream() or (wants_follow(request.args) and request.method != "HEAD"):
            backlog = line_count(request.args, default=0)
            # Opened before the head goes out: whoever has seen it misses no line written since.
            opened = {name: await _open(path, backlog, ended) for name, path in paths.items()}
            return stream_response(EventStream(_Follow(formation_id, opened, end), self._keepalive))
        count = line_count(request.args)
        logs = {name: await _tail(path, count) for name, path in paths.items()}
        totals = {name: len(lines) for name, lines in logs.items()}
        return success({"formation_id": formation_id, "logs": logs, "total_lines": totals})

    async def _find(self, formation_id: str) -> tuple[LogFiles, trio.Event, Mapping[str, str]]:
        """Return the files, what is set once nothing more comes, and why that is then."""
        if wants_draft(request.args):
            return *await self._dev.logs(formation_id), RUN_ENDED
        return self._fleet.log_files(formation_id), self._fleet.deletion(formation_id), DELETED


class _Follow:
    """Emits `connected`, `log` for every line, and `end` once nothing more can come.

    A formation that is stopped, restarted or replaced goes on in the same logs, so this goes on.
    """

    def __init__(
        self, formation_id: str, opened: dict[str, AsyncIterator[Line]], end: Mapping[str, str]
    ) -> None:
        self._formation_id = formation_id
        self._opened = opened
        self._end = end

    async def __call__(self, emit: Emit) -> None:
        await emit(ServerEvent("connected", {"formation_id": self._formation_id}))
        async with trio.open_nursery() as nursery:
            for name, lines in self._opened.items():
                nursery.start_soon(self._one, name, lines, emit)
        await emit(ServerEvent("end", {"formation_id": self._formation_id, **self._end}))

    async def _one(self, name: str, lines: AsyncIterator[Line], emit: Emit) -> None:
        async for line in lines:
            data = {
                "formation_id": self._formation_id,
                "stream": name,
                "line": line.text,
                "time": rfc3339(line.at),
            }
            await emit(ServerEvent("log", data))


async def _open(path: Path, backlog: int, ended: trio.Event) -> AsyncIterator[Line]:
    """Begin to follow a log, until the request has ended, or nothing more comes."""
    return await current().resources.enter_async_context(follow(path, backlog=backlog, ended=ended))


async def _tail(path: Path, count: int) -> list[str]:
    return await trio.to_thread.run_sync(partial(tail, path, count, max_bytes=MOST_BYTES))
