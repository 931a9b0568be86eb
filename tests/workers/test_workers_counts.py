from __future__ import annotations

from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from muxi.proxy.stats import Tally
from muxi.registry.traffic import Histogram, Traffic
from muxi.workers import counts
from muxi.workers.counts import GAUGES, HISTOGRAMS, SINGLE

numbers = st.integers(0, 1 << 40)
durations = st.lists(st.floats(0, 1e4), max_size=5)


@st.composite
def traffics(draw: st.DrawFn) -> Traffic:
    traffic = Traffic()
    for name in SINGLE:
        setattr(traffic, name, draw(numbers))
    traffic.statuses = draw(st.lists(numbers, min_size=6, max_size=6))
    for name in HISTOGRAMS:
        for seconds in draw(durations):
            getattr(traffic, name).add(seconds)
    return traffic


def test_everything_that_is_counted_is_sent() -> None:
    assert {*SINGLE, *HISTOGRAMS, "statuses"} == set(Traffic.__slots__)
    assert set(counts.TALLY) == set(asdict(Tally()))


@given(traffics())
def test_what_is_added_to_nothing_is_all_of_it(traffic: Traffic) -> None:
    copy = Traffic()
    counts.add_traffic(copy, counts.difference(counts.traffic_numbers(traffic), None))
    assert copy.snapshot() == traffic.snapshot()


@given(traffics(), traffics())
def test_the_numbers_of_two_processes_are_summed(one: Traffic, other: Traffic) -> None:
    before = one.snapshot()
    counts.add_traffic(one, counts.traffic_numbers(other))
    assert one.bytes_out == before.bytes_out + other.bytes_out
    assert sum(one.statuses) == before.requests + sum(other.statuses)
    assert one.first_event.snapshot().count == before.first_event.count + sum(other.first_event.counts)


@given(traffics())
def test_only_what_goes_down_again_is_taken_back(traffic: Traffic) -> None:
    copy = Traffic()
    added = counts.traffic_numbers(traffic)
    counts.add_traffic(copy, added)
    counts.take_back(copy, added[: len(GAUGES)])
    assert [getattr(copy, name) for name in GAUGES] == [0] * len(GAUGES)
    assert copy.snapshot().by_status == traffic.snapshot().by_status
    assert copy.held == traffic.held


def test_what_is_sent_step_by_step_adds_up() -> None:
    here, there, told = Traffic(), Traffic(), None
    for seconds in (0.1, 5.0, 0.1):
        here.in_flight += 1
        here.statuses[2] += 1
        here.first_byte.add(seconds)
        now = counts.traffic_numbers(here)
        counts.add_traffic(there, counts.difference(now, told))
        told = now
    assert there.snapshot() == here.snapshot()
    assert isinstance(there.first_byte, Histogram)


def test_a_tally_that_has_not_changed_is_not_sent() -> None:
    tally = Tally(connections=3, requests=9)
    now = counts.tally_numbers(tally)
    assert counts.tally_added(now, now) == ()
    total = Tally(connections=1)
    counts.add_tally(total, counts.tally_added(now, counts.tally_numbers(Tally())))
    assert (total.connections, total.requests) == (4, 9)
