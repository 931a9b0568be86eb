"""A token bucket: never more than its rate and burst allow, and an honest waiting time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.registry.rate import TokenBucket


def test_a_burst_passes_at_once_and_the_next_waits_for_a_token() -> None:
    bucket = TokenBucket(2.0, 3)
    assert [bucket.take(100.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take(100.0) == 0.5
    assert bucket.take(100.25) == 0.25
    assert bucket.take(100.5) == 0.0
    assert bucket.take(100.5) == 0.5


@pytest.mark.parametrize(("rate", "burst"), [(0.5, 1), (1.0, 1), (2.5, 3), (100.0, 100)])
def test_without_a_burst_it_is_that_of_one_second(rate: float, burst: int) -> None:
    bucket = TokenBucket(rate)
    assert [bucket.take(7.0) for _ in range(burst)] == [0.0] * burst
    assert bucket.take(7.0) > 0


def test_a_pause_fills_it_up_to_the_burst_and_no_further() -> None:
    bucket = TokenBucket(10.0, 2)
    bucket.take(0.0)
    assert [bucket.take(1000.0) for _ in range(3)] == [0.0, 0.0, pytest.approx(0.1)]


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = TokenBucket(1.0, 1)
    assert bucket.take(50.0) == 0.0
    assert bucket.take(10.0) == 1.0
    assert bucket.take(10.5) == 0.5


@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    pauses=st.lists(st.floats(0, 5), max_size=200),
)
def test_never_more_than_burst_and_rate_allow(rate: float, burst: int, pauses: list[float]) -> None:
    bucket, now, passed = TokenBucket(rate, burst), 0.0, 0
    for pause in pauses:
        now += pause
        passed += bucket.take(now) == 0.0
    assert passed <= burst + rate * now + 1e-6


@given(rate=st.floats(0.1, 1000), burst=st.integers(1, 5))
def test_who_waits_as_long_as_told_gets_in(rate: float, burst: int) -> None:
    bucket = TokenBucket(rate, burst)
    for _ in range(burst):
        bucket.take(1.0)
    wait = bucket.take(1.0)
    assert wait > 0
    assert bucket.take(1.0 + wait * (1 + 1e-9) + 1e-9) == 0.0
