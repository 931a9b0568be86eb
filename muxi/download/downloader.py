"""The server's downloads: each file by one transfer, however many wait for it."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from muxi.disk import disk_work
from muxi.download.failure import DownloadError, shown
from muxi.download.http import Http
from muxi.download.part import Part, digest
from muxi.download.progress import Progress, ignore
from muxi.download.ranges import length_of
from muxi.download.retry import persistently
from muxi.download.transfer import Order, Transfer
from muxi.errors import MuxiError
from muxi.locks import held

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from muxi.config.download import DownloadConfig

PATIENCE = 300.0
"""Seconds in which another process, beyond its own deadline, has to come further: hashing takes long."""
SMALL = 64 * 1024
SMALL_RETRIES = 1
"""How often a small document is asked for again: somebody waits for it, and can often do without."""


@dataclass(slots=True, eq=False)
class _Errand:
    """One order under way, and who waits for it. The one that has the turn does it."""

    turn: trio.Lock = field(default_factory=trio.Lock)
    reports: list[Callable[[Progress], None]] = field(default_factory=list)
    last: Progress | None = None
    done: bool = False
    failure: MuxiError | None = None

    def tell(self, progress: Progress) -> None:
        self.last = progress
        for report in list(self.reports):
            report(progress)


class Downloader:
    """Used by many tasks at once. Has no task of its own: a transfer runs in the task of one who waits.

    When that one is cancelled, the next one who waits goes on where it stopped; when nobody is
    left, the part stays on the disk for the next time, also for another process.
    """

    def __init__(
        self,
        settings: Callable[[], DownloadConfig],
        reserve: Callable[[], int] = lambda: 0,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """Ask at each download for `settings`, and for `reserve`: the bytes of the disk that stay free."""
        self._settings = settings
        self._reserve = reserve
        self._http = Http(settings, trust)
        self._errands: dict[Order, _Errand] = {}

    async def fetch(
        self,
        url: str,
        target: Path,
        *,
        sha256: str | None = None,
        size: int | None = None,
        mode: int = 0o644,
        report: Callable[[Progress], None] = ignore,
    ) -> Path:
        """Have the whole file at `target`; one that is there and is as it should be is taken.

        Without `sha256` the hash is kept when it comes first, and has to be the same ever after.
        Raises DownloadError and StorageError; then there is nothing at `target`, or what was there before.
        """
        order = Order(url, target, sha256, size, mode)
        errand = self._errands.setdefault(order, _Errand())
        errand.reports.append(report)
        try:
            if errand.last is not None:
                report(errand.last)
            async with errand.turn:
                if not errand.done:
                    await self._do(order, errand)
        finally:
            errand.reports.remove(report)
            if not errand.reports and self._errands.get(order) is errand:
                del self._errands[order]
        if errand.failure is not None:
            raise _again(errand.failure) from errand.failure
        return target

    async def read_text(self, url: str, *, limit: int = SMALL) -> str:
        """Return a small document. Raises DownloadError, also when it is longer than `limit` bytes."""

        async def attempt() -> str:
            async with self._http.answer("GET", url) as response, self._http.pieces(response) as pieces:
                content = b""
                async for piece in pieces:
                    content += piece
                    if len(content) > limit:
                        raise DownloadError(
                            f"{shown(url)} is longer than {limit:,} bytes.",
                            cure="Check the address of the mirror.",
                        )
                return content.decode("utf-8", "replace")

        return await persistently(attempt, url, SMALL_RETRIES)

    async def fields(self, url: str) -> Mapping[str, str]:
        """Return the header of what is at a URL by lower-case names; a redirection is not followed.

        Raises DownloadError.
        """

        async def attempt() -> Mapping[str, str]:
            async with self._http.answer("HEAD", url, follow=False) as response:
                return {name.lower(): value for name, value in response.headers.items()}

        return await persistently(attempt, url, SMALL_RETRIES)

    async def exists(self, url: str) -> bool:
        """Tell whether there is something at a URL. Raises DownloadError where that can't be told.

        Asked by a GET for one byte: addresses that are signed for GET refuse a HEAD.
        """

        async def attempt() -> bool:
            async with self._http.answer("GET", url, {"Range": "bytes=0-0"}):
                return True

        try:
            return await persistently(attempt, url, SMALL_RETRIES)
        except DownloadError as error:
            if error.missing:
                return False
            raise

    async def size(self, url: str) -> int | None:
        """Return how long the file at a URL is, None where that is not said. Raises DownloadError."""

        async def attempt() -> int | None:
            async with self._http.answer("GET", url, {"Range": "bytes=0-0"}) as response:
                return length_of(response.status_code, response.headers)

        return await persistently(attempt, url, SMALL_RETRIES)

    async def _do(self, order: Order, errand: _Errand) -> None:
        """Carry out an order; whoever waits for it gets what becomes of it, unless this one is cancelled."""
        try:
            await self._carry_out(order, errand)
        except MuxiError as error:
            errand.failure = error
        errand.done = True
        if self._errands.get(order) is errand:
            del self._errands[order]

    async def _carry_out(self, order: Order, errand: _Errand) -> None:
        lock, part = order.target.with_name(f".{order.target.name}.lock"), Part(order.target)
        with disk_work(f"store {order.target.name}", stage="downloading_sif"):
            await trio.to_thread.run_sync(lambda: order.target.parent.mkdir(parents=True, exist_ok=True))
            async with self._alone(lock, part):
                if await trio.to_thread.run_sync(_there, order, abandon_on_cancel=True):
                    return
                transfer = Transfer(
                    self._http,
                    order,
                    part,
                    retries=self._settings().retries,
                    reserve=self._reserve(),
                    report=errand.tell,
                )
                await transfer.run()

    @asynccontextmanager
    async def _alone(self, lock: Path, part: Part) -> AsyncIterator[None]:
        """Be the only one of all processes at a file; another may take its time, as long as more comes.

        Raises DownloadError when it stands still.
        """
        patience = PATIENCE + self._settings().stall_timeout
        before: int | None = None
        async with AsyncExitStack() as holding:
            while True:
                with trio.move_on_after(patience) as waiting:
                    await holding.enter_async_context(held(lock))
                if not waiting.cancelled_caught:
                    break
                size = await trio.to_thread.run_sync(part.size)
                if size == before:
                    raise _stands_still(part.target, patience)
                before = size
            yield


def _stands_still(target: Path, seconds: float) -> DownloadError:
    return DownloadError(
        f"Another process is at {target.name}, and nothing of it has come for {seconds:g} s.",
        cure=f"See which one it is (fuser -v on the file .{target.name}.lock there), and end it if it hangs.",
    )


def _again(error: MuxiError) -> MuxiError:
    """Return the same for each who waited: an operation adds to its own."""
    again = type(error).__new__(type(error), *error.args)
    again.__dict__.update(error.__dict__, details=dict(error.details))
    return again


def _there(order: Order) -> bool:
    """Tell whether the file is there, as it should be."""
    with suppress(FileNotFoundError):
        if order.size in {None, order.target.stat().st_size}:
            if order.sha256 is None:
                return order.size is not None or order.target.stat().st_size > 0
            return digest(order.target) == order.sha256.lower()
    return False
