"""The reports: one an hour, and a last one when the server ends.

One task makes them, one after another, so that no number is in two. A report that does not get
through is tried once more; what is in it comes with the next one, in any case.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
import trio

from muxi.telemetry.consent import objection
from muxi.telemetry.http import OutsideError, outside
from muxi.telemetry.machine import machine_id
from muxi.telemetry.preferences import home_of, preferences_file, read_preferences
from muxi.telemetry.report import envelope
from muxi.telemetry.totals import added

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from muxi.telemetry.report import Facts
    from muxi.telemetry.totals import Numbers, Totals

log = structlog.get_logger()

COLLECTOR: Final = "https://capture.muxi.org/v1/telemetry"
INTERVAL: Final = 3600.0
SEND_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 1.0
"""By how much the last report may delay the end of the server."""


class Standing(NamedTuple):
    """Whether reports are sent, why not, where to, and what the next one would be."""

    enabled: bool
    reason: str | None
    url: str
    file: str
    report: Mapping[str, object]

    def as_dict(self) -> dict[str, object]:
        return {**self._asdict(), "report": dict(self.report)}


class Reporter:
    """Reports what `totals` has counted, as long as nobody objects.

    `configured` tells what the server's configuration says now, `environment` and `home` where the
    other objections are looked for. `facts` tells what is so now.
    """

    def __init__(
        self,
        totals: Totals,
        facts: Callable[[], Facts],
        configured: Callable[[], bool],
        environment: Mapping[str, str],
        home: Path | None = None,
        *,
        interval: float = INTERVAL,
        retry: float = RETRY_SECONDS,
    ) -> None:
        self._totals = totals
        self._facts = facts
        self._configured = configured
        self._environment = environment
        self._file = preferences_file(home or home_of(environment))
        self._interval, self._retry = interval, retry
        self._reported: Numbers = {}
        self._closing = trio.Event()
        self._closed = trio.Event()

    @property
    def url(self) -> str:
        return self._environment.get("TELEMETRY_URL", "").strip() or COLLECTOR

    async def run(self) -> None:
        """Report until it is closed."""
        while not self._closing.is_set():
            with trio.move_on_after(self._interval):
                await self._closing.wait()
                break
            await self._report_again()
        await self._report()
        self._closed.set()

    async def close(self) -> None:
        """Have the last report made, and wait for it a second at most."""
        self._closing.set()
        with trio.move_on_after(CLOSE_SECONDS):
            await self._closed.wait()

    async def standing(self) -> Standing:
        """Tell what would be sent now. Sends nothing, and writes nothing."""
        reason = await trio.to_thread.run_sync(self._objection, abandon_on_cancel=True)
        report, _ = await self._next(keep=False)
        return Standing(reason is None, reason, self.url, str(self._file), report)

    async def _report_again(self) -> None:
        if await self._report():
            return
        with trio.move_on_after(self._retry):
            await self._closing.wait()
            return
        await self._report()

    async def _report(self) -> bool:
        """Send one report, if one may be sent; False: it did not get through."""
        if await trio.to_thread.run_sync(self._objection, abandon_on_cancel=True) is not None:
            # What is counted while nobody may know of it is never told, also not later.
            self._reported = self._totals.now()
            return True
        report, numbers = await self._next(keep=True)
        try:
            async with outside() as client:
                await client.post_json(self.url, report, SEND_SECONDS)
        except OutsideError as error:
            log.debug("telemetry not sent", reason=str(error))
            return False
        self._reported = numbers
        return True

    async def _next(self, *, keep: bool) -> tuple[dict[str, object], Numbers]:
        name = await trio.to_thread.run_sync(
            lambda: machine_id(self._file, keep=keep), abandon_on_cancel=True
        )
        numbers = self._totals.now()
        new = added(numbers, self._reported)
        return envelope(name, time.time(), self._facts(), new), numbers

    def _objection(self) -> str | None:
        return objection(self._environment, self._configured(), read_preferences(self._file), self._file)
