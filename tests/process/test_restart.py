from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.process.restart import GiveUp, RestartPolicy, Retry


def test_delay_is_fixed_first_then_doubles_up_to_the_cap() -> None:
    policy = RestartPolicy(max_restarts=9, delay=1.0)
    assert [policy.decide(count) for count in range(9)] == [
        Retry(delay) for delay in (1, 2, 4, 8, 16, 32, 60, 60, 60)
    ]


def test_delay_longer_than_the_cap_stays() -> None:
    assert RestartPolicy(delay=90.0).decide(0) == RestartPolicy(delay=90.0).decide(5) == Retry(90.0)


def test_gives_up_past_the_limit_and_says_how_to_go_on() -> None:
    decision = RestartPolicy(max_restarts=10).decide(10)
    assert isinstance(decision, GiveUp)
    assert decision.reason == "restarted 10 times without staying healthy; `restart` starts it again"


def test_gives_up_after_a_single_allowed_restart() -> None:
    decision = RestartPolicy(max_restarts=1).decide(1)
    assert isinstance(decision, GiveUp)
    assert decision.reason.startswith("restarted once ")


@pytest.mark.parametrize("policy", [RestartPolicy(auto_restart=False), RestartPolicy(max_restarts=0)])
def test_never_restarts_when_told_so(policy: RestartPolicy) -> None:
    assert isinstance(policy.decide(0), GiveUp)


@pytest.mark.parametrize(("healthy_for", "forgiven"), [(0.0, False), (599.9, False), (600.0, True)])
def test_only_long_health_forgives(healthy_for: float, forgiven: bool) -> None:
    assert RestartPolicy(reset_after=600.0).forgives(healthy_for) is forgiven


@given(
    delay=st.floats(0, 1000), cap=st.floats(0, 1000), count=st.integers(0, 10**9), limit=st.integers(0, 10**9)
)
def test_delays_grow_within_bounds(delay: float, cap: float, count: int, limit: int) -> None:
    policy = RestartPolicy(max_restarts=limit, delay=delay, max_delay=cap)
    match policy.decide(count), policy.decide(count + 1):
        case Retry(first), Retry(second):
            assert delay <= first <= second <= max(cap, delay)
        case Retry(), GiveUp():
            assert count == limit - 1
        case decisions:
            assert count >= limit
            assert all(isinstance(decision, GiveUp) for decision in decisions)
