from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.errors import InternalError
from muxi.process.lifecycle import SPAWNED, TRANSITIONS, Event, State, advance
from tests.process.diagram import PAGE, with_diagram

# Written by hand, not from the table: state, then each event with what follows it.
EDGES = """
stopped     start>starting adopted>running
starting    healthy>running exited>crashed failed>crashed stop>stopping
running     unhealthy>unhealthy exited>crashed failed>crashed stop>stopping
unhealthy   healthy>running exited>crashed failed>crashed stop>stopping
crashed     retry>restarting parked>crashed start>starting stop>stopping
restarting  healthy>running exited>crashed failed>crashed stop>stopping
stopping    stopped>stopped failed>crashed
"""
EXPECTED = {
    (State(line.split()[0]), Event(edge.partition(">")[0])): State(edge.partition(">")[2])
    for line in EDGES.strip().splitlines()
    for edge in line.split()[1:]
}
PAIRS = [(state, event) for state in State for event in Event]


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_every_pair_leads_where_it_should_or_is_refused(state: State, event: Event) -> None:
    if (state, event) in EXPECTED:
        assert advance(state, event) is EXPECTED[state, event]
    else:
        with pytest.raises(InternalError, match=f"{state} process .* {event}"):
            advance(state, event)


def test_states_are_the_words_of_the_wire() -> None:
    assert json.dumps(list(State)) == json.dumps(
        ["stopped", "starting", "running", "unhealthy", "stopping", "crashed", "restarting"]
    )


def test_every_state_can_be_reached_and_left() -> None:
    assert set(TRANSITIONS.values()) == set(State)
    assert {state for (state, _), after in TRANSITIONS.items() if after is not state} == set(State)


@given(st.lists(st.sampled_from(Event)))
def test_any_walk_can_be_stopped_in_two_steps(events: list[Event]) -> None:
    state = State.STOPPED
    for event in events:
        if (state, event) in TRANSITIONS:
            before, state = state, advance(state, event)
            # No process appears without a start or a retry, whatever happened before.
            if state in SPAWNED and before not in SPAWNED:
                assert event in {Event.START, Event.ADOPTED, Event.RETRY}
            if state is State.STOPPED:
                assert before is State.STOPPING
    if state not in {State.STOPPED, State.STOPPING}:
        state = advance(state, Event.STOP)
    if state is State.STOPPING:
        state = advance(state, Event.STOPPED)
    assert state is State.STOPPED


def test_the_diagram_in_the_docs_is_that_of_the_table() -> None:
    """If not: python -m tests.process.diagram."""
    page = PAGE.read_text(encoding="utf-8")
    assert with_diagram(page) == page
