from __future__ import annotations

import pytest

from muxi.process.health import Liveness
from muxi.process.pulse import Activity, Pulse

SETTINGS = Liveness(threshold=3, grace=60.0)
BUSY = Activity(busy=True, moved=1000)


def silences(pulse: Pulse, *times: float, activity: Activity = Activity(), cpu: float = 0.0) -> list[bool]:  # noqa: B008
    return [pulse.silent(at, activity, cpu) for at in times]


def test_so_many_silences_in_a_row_are_one_that_hangs() -> None:
    pulse = Pulse(SETTINGS)
    assert silences(pulse, 100, 135, 170) == [False, False, True]
    assert pulse.silent_for(170) == 70


def test_an_answer_in_between_begins_anew() -> None:
    pulse = Pulse(SETTINGS)
    assert silences(pulse, 0, 30) == [False, False]
    pulse.alive()
    assert pulse.silent_for(40) == 0
    assert silences(pulse, 60, 90, 120) == [False, False, True]


def test_it_can_be_switched_off() -> None:
    assert not any(silences(Pulse(Liveness(threshold=0)), *range(0, 3000, 30)))


def test_one_with_requests_under_way_has_the_whole_grace() -> None:
    pulse = Pulse(SETTINGS)
    assert silences(pulse, 0, 20, 40, 59, 60, activity=BUSY) == [False, False, False, False, True]


def test_when_its_last_request_has_gone_the_grace_is_over() -> None:
    pulse = Pulse(SETTINGS)
    assert silences(pulse, 0, 20, 40, activity=BUSY) == [False, False, False]
    assert silences(pulse, 41) == [True]


@pytest.mark.parametrize(
    ("activity", "cpu", "lives"),
    [
        (BUSY._replace(moved=1001), 0.0, True),
        (BUSY, 5.0, True),
        (BUSY, 0.3, False),  # less than a hundredth of the forty seconds: a timer thread, no more
    ],
)
def test_other_signs_of_life_prolong_it(activity: Activity, cpu: float, lives: bool) -> None:
    pulse = Pulse(SETTINGS)
    assert silences(pulse, 0, 20, activity=BUSY) == [False, False]
    assert pulse.silent(40, activity, cpu) is False
    assert pulse.silent(61, activity, cpu) is not lives
    assert pulse.silent(100, activity, cpu) is True
