"""Trying again: how long to wait before it, and how often."""

from __future__ import annotations

import random
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

import structlog
import trio

from muxi.download.failure import DownloadError, Interrupted, shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = structlog.get_logger()

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
LONGEST_WISH = 120.0
"""A server that asks for more patience than this gets this much."""


def pause(failures: int, retry_after: float | None, spread: float) -> float:
    """Return the seconds to wait after the n-th failure (from 1) in a row.

    `spread`, from 0 to 1, is drawn by lot, so that many clients don't come back at the same moment.
    """
    backoff: float = min(FIRST_PAUSE * 2 ** min(failures - 1, 30), LONGEST_PAUSE)
    return max(backoff * (0.5 + spread / 2), min(retry_after or 0.0, LONGEST_WISH))


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Read a Retry-After field (RFC 9110, 10.2.3): seconds, or a date; None for anything else."""
    text = (value or "").strip()
    if text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - now, 0.0)
    except (ValueError, OverflowError):
        return None


async def persistently(
    attempt: Callable[[], Awaitable[T]],
    url: str,
    retries: int,
    *,
    progressed: Callable[[], bool] = lambda: False,
    draw: Callable[[], float] = random.random,
) -> T:
    """Try until it is done; raise DownloadError after `retries` tries in a row that came no further.

    `progressed` says whether the try that has just failed came further than all before.
    """
    failures = 0
    while True:
        try:
            return await attempt()
        except Interrupted as cut:
            failures = 1 if progressed() else failures + 1
            if failures > retries:
                raise _given_up(url, failures, cut) from cut
            seconds = pause(failures, cut.retry_after, draw())
            log.info("download tried again", url=shown(url), reason=cut.reason, seconds=round(seconds, 1))
        await trio.sleep(seconds)


def wish(value: str | None) -> float | None:
    """Return for how long an answer's Retry-After asks us to wait, from now."""
    return parse_retry_after(value, time.time())


def _given_up(url: str, failures: int, cut: Interrupted) -> DownloadError:
    return DownloadError(
        f"{shown(url)} could not be downloaded ({failures} {'try' if failures == 1 else 'tries'}): "
        f"{cut.reason}.",
        cure="Check this machine's way to the internet (a proxy: HTTPS_PROXY), or name a mirror of your own; "
        "the next try goes on where this one stopped.",
    )
