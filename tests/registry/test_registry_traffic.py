"""What is counted of a formation's requests, and its snapshot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.registry.traffic import BOUNDS, Distribution, Histogram, Traffic


def test_bounds_rise() -> None:
    assert list(BOUNDS) == sorted(set(BOUNDS))


@pytest.mark.parametrize(
    ("seconds", "place"), [(0.0, 0), (0.0005, 0), (0.00051, 1), (1.0, 10), (3600.0, 19), (3601.0, 20)]
)
def test_a_duration_is_counted_below_its_bound(seconds: float, place: int) -> None:
    histogram = Histogram()
    histogram.add(seconds)
    assert histogram.counts.index(1) == place
    assert sum(histogram.counts) == 1


@given(st.lists(st.floats(0, 4000)))
def test_none_is_lost_and_the_sum_is_kept(times: list[float]) -> None:
    histogram = Histogram()
    for seconds in times:
        histogram.add(seconds)
    assert histogram.snapshot().count == len(times)
    assert histogram.snapshot().total == pytest.approx(sum(times))


def test_quantiles_are_bounds() -> None:
    histogram = Histogram()
    for seconds in [0.0004] * 90 + [0.2] * 9 + [9999.0]:
        histogram.add(seconds)
    found = histogram.snapshot()
    assert [found.quantile(share) for share in (0.5, 0.9, 0.99, 1.0)] == [0.0005, 0.0005, 0.25, 3600.0]


def test_an_empty_one_has_no_quantile() -> None:
    assert Distribution((0,) * 21, 0.0).quantile(0.5) is None


def test_a_snapshot_does_not_change_with_the_counts() -> None:
    traffic = Traffic()
    traffic.statuses[2] += 3
    traffic.statuses[5] += 1
    traffic.statuses[0] += 1
    traffic.first_byte.add(0.01)
    view = traffic.snapshot()
    traffic.statuses[2] += 1
    traffic.first_byte.add(0.01)
    assert view.requests == 5
    assert view.by_status == {"1xx": 0, "2xx": 3, "3xx": 0, "4xx": 0, "5xx": 1}
    assert view.first_byte.count == 1
