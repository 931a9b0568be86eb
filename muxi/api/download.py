"""A deployed formation as a zip file, streamed: never whole in memory, never on the disk."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio
from quart import Response, request

from muxi.api.exchange import current
from muxi.api.formations import ONE
from muxi.api.routing import Endpoint
from muxi.api.task_body import TaskBody
from muxi.errors import NotFound
from muxi.formation.zipping import Download

if TYPE_CHECKING:
    from muxi.api.parts import ApiParts

PIECES_AHEAD = 4
"""How many pieces may wait for a client that is slower than the disk."""


class DownloadRoutes:
    """`GET …/download`, with `db=true` also the database."""

    def __init__(self, parts: ApiParts) -> None:
        self._fleet = parts.fleet
        self._facilities = parts.facilities

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (Endpoint("GET", f"{ONE}/download", self.download),)

    async def download(self, formation_id: str) -> Response:
        self._fleet.get(formation_id)
        facilities = self._facilities
        settings = facilities.config.formations
        releases = facilities.releases(formation_id)
        release = await trio.to_thread.run_sync(releases.current)
        if release is None or not release.path.is_dir():
            raise NotFound(
                "Formation files not found",
                code="FilesNotFound",
                cure="The formation is still being deployed, or its files were removed.",
            )
        download = Download(
            release.path,
            releases.state,
            facilities.workspace,
            with_database=request.args.get("db") == "true",
            hold=settings.download_secrets,
        )
        current().resources.push_async_callback(_close, download)
        await trio.to_thread.run_sync(download.prepare, settings.disk_reserve)
        body = b"" if request.method == "HEAD" else ZipBody(download)
        response = Response(body, 200, content_type="application/zip")
        response.timeout = None
        response.headers["Content-Disposition"] = f'attachment; filename="{formation_id}.zip"'
        response.headers["Cache-Control"] = "no-store"
        return response


class ZipBody(TaskBody):
    """An answer's body that a thread writes, a few pieces ahead of the client and no more.

    When a file can't be read, the answer is cut off: a client must not take half for the whole.
    """

    def __init__(self, download: Download) -> None:
        super().__init__()
        self._download = download
        self._send, self._receive = trio.open_memory_channel[bytes](PIECES_AHEAD)

    async def __anext__(self) -> bytes:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def _run(self) -> None:
        await trio.to_thread.run_sync(
            partial(self._download.write, _Pieces(self._send), trio.from_thread.check_cancelled)
        )
        self._send.close()  # only now: an end without this is no end


class _Pieces:
    """Gives a thread's pieces to the task that sends them, and lets the thread wait for it."""

    def __init__(self, channel: trio.MemorySendChannel[bytes]) -> None:
        self._channel = channel

    def write(self, data: bytes) -> int:
        trio.from_thread.run(self._channel.send, data)
        return len(data)


async def _close(download: Download) -> None:
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(download.close)
