from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.process.restart import JITTER, Failures, GiveUp, RestartPolicy, Retry


def after(policy: RestartPolicy, *times: float, spread: float = 0.0) -> Retry | GiveUp:
    """Say what the policy decides after failures at these times."""
    failures = Failures()
    for at in times:
        failures = policy.count(failures, at)
    return policy.decide(failures, spread)


def test_delay_is_fixed_first_then_doubles_up_to_the_cap() -> None:
    policy = RestartPolicy(max_restarts=9, delay=1.0)
    assert [after(policy, *range(1, count + 1)) for count in range(1, 10)] == [
        Retry(delay) for delay in (1, 2, 4, 8, 16, 32, 60, 60, 60)
    ]


def test_delay_longer_than_the_cap_stays() -> None:
    policy = RestartPolicy(delay=90.0)
    assert after(policy, 1) == after(policy, 1, 2, 3, 4, 5, 6) == Retry(90.0)


@pytest.mark.parametrize(("spread", "delay"), [(0.0, 4.0), (0.5, 4.4), (1.0, 4.8)])
def test_chance_makes_a_pause_up_to_a_fifth_longer(spread: float, delay: float) -> None:
    decision = after(RestartPolicy(), 1, 2, 3, spread=spread)
    assert isinstance(decision, Retry)
    assert decision.delay == pytest.approx(delay)


def test_one_failure_too_many_within_the_window_is_a_crash_loop_and_tried_slowly() -> None:
    policy = RestartPolicy(max_restarts=3, window=100.0, loop_interval=300.0)
    assert after(policy, 0, 30, 60) == Retry(4.0)
    assert after(policy, 0, 30, 60, 99) == Retry(
        300.0,
        "failed 4 times without staying healthy, so it is tried slowly; `restart` tries at once",
    )


def test_failures_that_the_window_has_left_behind_count_no_more() -> None:
    policy = RestartPolicy(max_restarts=3, window=100.0)
    assert after(policy, 0, 30, 60, 101) == Retry(4.0)
    assert after(policy, 0, 30, 60, 200) == Retry(1.0)


def test_a_crash_loop_stays_one_though_slow_tries_leave_the_window_almost_empty() -> None:
    policy = RestartPolicy(max_restarts=2, window=100.0, loop_interval=300.0)
    decision = after(policy, 1, 2, 3, 303, 603, 903)
    assert isinstance(decision, Retry)
    assert decision.delay == 300.0
    assert decision.reason is not None
    assert decision.reason.startswith("failed once ")


def test_it_is_never_given_up_unless_it_is_not_to_be_restarted() -> None:
    assert isinstance(after(RestartPolicy(), *range(1, 1000)), Retry)
    decision = after(RestartPolicy(auto_restart=False), 1)
    assert decision == GiveUp("auto_restart is off; `restart` starts it again")


@pytest.mark.parametrize(("healthy_for", "forgiven"), [(0.0, False), (599.9, False), (600.0, True)])
def test_only_long_health_forgives(healthy_for: float, forgiven: bool) -> None:
    assert RestartPolicy(reset_after=600.0).forgives(healthy_for) is forgiven


@given(
    delay=st.floats(0.01, 1000),
    cap=st.floats(0, 1000),
    limit=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 500), min_size=1, max_size=60),
    spread=st.floats(0, 1),
)
def test_pauses_keep_within_their_bounds_whatever_happens(
    delay: float, cap: float, limit: int, gaps: list[float], spread: float
) -> None:
    policy = RestartPolicy(max_restarts=limit, delay=delay, max_delay=cap)
    failures, now, looped = Failures(), 0.0, False
    for gap in gaps:
        now += gap
        failures = policy.count(failures, now)
        assert len(failures.at) <= limit + 1
        assert failures.crash_loop or not looped  # only health, or a person, ends it
        looped = failures.crash_loop
        decision = policy.decide(failures, spread)
        assert isinstance(decision, Retry)
        longest = policy.loop_interval if looped else max(cap, delay)
        least = policy.loop_interval if looped else delay
        assert least <= decision.delay <= longest * (1 + JITTER)
