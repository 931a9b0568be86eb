from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from muxi.download.failure import DownloadError, Interrupted, shown
from muxi.download.retry import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    LONGEST_WISH,
    parse_retry_after,
    pause,
    persistently,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

URL = "https://user:CANARY@example.com/a?token=CANARY"


def test_pauses_double_up_to_the_longest() -> None:
    assert [pause(n, None, 1.0) for n in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


@given(st.integers(1, 10_000), st.none() | st.floats(0, 1e9), st.floats(0, 1))
def test_a_pause_is_bounded_and_half_of_it_by_lot(failures: int, wish: float | None, spread: float) -> None:
    seconds = pause(failures, wish, spread)
    assert FIRST_PAUSE / 2 <= seconds <= max(LONGEST_PAUSE, LONGEST_WISH)
    assert seconds >= min(wish or 0, LONGEST_WISH)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1" * 400, None),
        (formatdate(1_000_030, usegmt=True), 30.0),
        (formatdate(999_000, usegmt=True), 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, now=1_000_000) == seconds


class Script:
    """Fails as it is told, then succeeds; notes when it was tried."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.times: list[float] = []

    async def attempt(self) -> str:
        self.times.append(round(trio.current_time(), 6))
        if self.failures:
            raise self.failures.pop(0)
        return "done"


async def test_tries_again_after_longer_and_longer_pauses(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    script = Script(*[Interrupted("cut")] * 4)
    assert await persistently(script.attempt, URL, 5, draw=lambda: 1.0) == "done"
    assert [time - start for time in script.times] == pytest.approx([0, 0.5, 1.5, 3.5, 7.5])


async def test_waits_as_long_as_the_server_wants_within_reason(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    script = Script(Interrupted("busy", 40.0), Interrupted("busy", 1e9))
    await persistently(script.attempt, URL, 5, draw=lambda: 1.0)
    assert [time - start for time in script.times] == pytest.approx([0, 40, 40 + LONGEST_WISH])


async def test_gives_up_in_words_without_a_secret(autojump_clock: MockClock) -> None:
    script = Script(*[Interrupted("nothing came for 60 s")] * 9)
    with pytest.raises(DownloadError, match=r"\(3 tries\): nothing came for 60 s\.$") as raised:
        await persistently(script.attempt, URL, 2)
    assert len(script.times) == 3
    assert "CANARY" not in str(raised.value)
    assert raised.value.code == "DownloadError"
    with pytest.raises(DownloadError, match=r"\(1 try\)"):
        await persistently(script.attempt, URL, 0)


async def test_a_try_that_came_further_forgives_those_before(autojump_clock: MockClock) -> None:
    further = iter([False, True, False, True, False, True])
    script = Script(*[Interrupted("cut")] * 6)
    assert await persistently(script.attempt, URL, 2, progressed=lambda: next(further)) == "done"


async def test_a_refusal_is_passed_on_at_once(autojump_clock: MockClock) -> None:
    script = Script(DownloadError("no", cure="x"))
    with pytest.raises(DownloadError, match="no"):
        await persistently(script.attempt, URL, 5)
    assert len(script.times) == 1


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (URL, "https://example.com/a"),
        ("http://[::1]:80/x#y", "http://[::1]:80/x"),
        ("http://[::1", "(not a URL)"),
    ],
)
def test_what_is_shown_of_an_address(url: str, text: str) -> None:
    assert shown(url) == text
