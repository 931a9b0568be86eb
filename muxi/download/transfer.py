"""One download, from the first try to the whole file in its place."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import trio

from muxi.disk import require_space, storage_error
from muxi.download import checksums
from muxi.download.failure import DownloadError, Interrupted, shown
from muxi.download.progress import Meter, Progress
from muxi.download.ranges import Body, Changed, range_fields, read_answer
from muxi.download.retry import persistently

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx

    from muxi.download.http import Http
    from muxi.download.part import Part

T = TypeVar("T")

BUFFER = 1024 * 1024
"""Bytes that are gathered before a thread writes them."""
FURTHER = 1024 * 1024
"""Bytes by which a try has to come further than all before to count as progress."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted: a file, what is known of it (None: nothing), and with which mode it shall lie there."""

    url: str
    target: Path
    sha256: str | None = None
    size: int | None = None
    mode: int = 0o644


class Transfer:
    """Carries out one order. `run` is called once, under the target's lock."""

    def __init__(
        self,
        http: Http,
        order: Order,
        part: Part,
        *,
        retries: int,
        reserve: int,
        report: Callable[[Progress], None],
    ) -> None:
        """`reserve` is how many bytes of the disk are to stay free."""
        self._http = http
        self._order = order
        self._part = part
        self._retries = retries
        self._reserve = reserve
        self._meter = Meter(order.url, report, trio.current_time)
        # Not the whole address: it may hold a password, or be signed for an hour.
        self._source = shown(order.url)
        self._furthest = 0
        self._patched = False
        self._anew_once = False

    async def run(self) -> None:
        """Have the whole file in its place. Raises DownloadError, StorageError.

        What has come stays for the next time, unless it is wrong or the disk is full.
        """
        try:
            await self._disk(self._part.open, self._source)
            self._patched = self._part.offset > 0
            await self._fetch()
            while not await self._verified():
                await self._fetch()
            await self._disk(self._part.finish, self._order.mode)
        finally:
            self._part.close()
        self._meter.end(self._part.offset)

    async def _fetch(self) -> None:
        await persistently(self._attempt, self._order.url, self._retries, progressed=self._came_further)

    def _came_further(self) -> bool:
        further = self._part.offset - self._furthest >= FURTHER
        if further:
            self._furthest = self._part.offset
        return further

    async def _attempt(self) -> None:
        order, part = self._order, self._part
        asked = range_fields(part.origin, part.offset, verified=order.sha256 is not None)
        async with self._http.answer("GET", order.url, asked) as response:
            try:
                body = read_answer(
                    self._source, response.status_code, _fields(response), part.origin, part.offset
                )
            except Changed:
                await self._disk(self._anew)
                raise
            if body is None:
                return
            self._check_length(response, body)
            if body.start == 0:
                await self._disk(part.begin, body.origin)
            self._patched = body.start > 0
            await self._require_space(body)
            await self._copy(response, body)

    def _anew(self) -> None:
        self._part.discard()
        self._part.open(self._source)

    def _check_length(self, response: httpx.Response, body: Body) -> None:
        wanted = self._order.size
        if wanted is not None and body.total not in {None, wanted}:
            raise DownloadError(
                f"{shown(self._order.url)} has {body.total:,} bytes, and {wanted:,} were expected.",
                code="SizeMismatch",
                cure="Check the address of the mirror, and whether it has the whole file.",
            )
        told = body.total is not None or "chunked" in response.headers.get("transfer-encoding", "").lower()
        if not told and wanted is None and self._order.sha256 is None:
            raise DownloadError(
                f"The server of {shown(self._order.url)} does not say how long it is, "
                "so it could not be seen whether it came whole.",
                cure="Use a mirror that sends Content-Length.",
            )

    async def _require_space(self, body: Body) -> None:
        total = body.total or self._order.size
        needed = 0 if total is None else total - body.start
        await trio.to_thread.run_sync(self._check_space, needed)

    def _check_space(self, needed: int) -> None:
        what = f"download {self._order.target.name}"
        require_space(self._order.target.parent, needed, self._reserve, what, stage="downloading_sif")

    async def _copy(self, response: httpx.Response, body: Body) -> None:
        """Write a body behind what is here. Raises Interrupted where it ends too early or too late."""
        part, held, size = self._part, list[bytes](), 0
        end = body.total if body.total is not None else self._order.size
        self._meter.begin(part.offset, end)
        try:
            async with self._http.pieces(response) as pieces:
                async for piece in pieces:
                    held.append(piece)
                    size += len(piece)
                    if end is not None and part.offset + size > end:
                        held.clear()
                        raise Interrupted("more came than the server had said")
                    self._meter.count(part.offset + size, end)
                    if size >= BUFFER:
                        data, size = b"".join(held), 0
                        held.clear()
                        await self._write(data, end)
        finally:
            with trio.CancelScope(shield=True):  # one buffer at most; and nothing may write after `close`
                await self._disk(self._settle, b"".join(held))
        if end is not None and part.offset != end:
            raise Interrupted(f"the server ended it after {part.offset:,} of {end:,} bytes")

    async def _write(self, data: bytes, end: int | None) -> None:
        synced = self._part.origin.synced if self._part.origin else 0
        await self._disk(self._part.append, data)
        if end is None and self._part.origin and self._part.origin.synced != synced:
            await trio.to_thread.run_sync(self._check_space, 0)

    def _settle(self, data: bytes) -> None:
        self._part.append(data)
        self._part.sync()

    async def _verified(self) -> bool:
        """Tell whether it is what it has to be; False: it was put together of pieces, and is fetched anew.

        Raises DownloadError (ChecksumMismatch) where it came in one piece and is not.
        """
        order, part = self._order, self._part
        found = await self._disk(part.digest)
        seen = order.sha256 or await self._disk(checksums.first_seen, order.target)
        if seen is None or found == seen.lower():
            await self._disk(checksums.keep, order.target, found)
            return True
        await self._disk(self._anew)
        if self._patched and not self._anew_once:
            self._anew_once = True
            return False
        await self._disk(part.discard)
        raise self._mismatch(found, seen.lower())

    def _mismatch(self, found: str, seen: str) -> DownloadError:
        where = shown(self._order.url)
        if self._order.sha256 is not None:
            return DownloadError(
                f"{where} is not what its publisher says: its SHA-256 is {found}, and {seen} was expected.",
                code="ChecksumMismatch",
                cure="Try again later; if it stays so, don't use that mirror.",
            )
        return DownloadError(
            f"{where} is not what it was when it was first downloaded: its SHA-256 is {found}, "
            f"and was {seen}.",
            code="ChecksumMismatch",
            cure="If its publisher has replaced it on purpose, remove "
            f"{checksums.record_of(self._order.target)} and try again.",
        )

    async def _disk(self, work: Callable[..., T], *arguments: object) -> T:
        """Do work on the disk in a thread; a disk that is full gets back what this one took of it."""
        try:
            return await trio.to_thread.run_sync(work, *arguments)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                await trio.to_thread.run_sync(self._part.discard)
            doing = f"store {self._order.target.name}"
            raise storage_error(error, doing, stage="downloading_sif") from error


def _fields(response: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}
