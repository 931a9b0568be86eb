"""Any order of events: against the table, and against a real instance with a played process.

What is played is checked from outside, by rules that hold whatever happens: the states form a
walk through the table, there is never more than one process, and one that is stopped has none.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from trio.testing import MockClock, wait_all_tasks_blocked

from muxi.errors import InternalError, OperatorError
from muxi.process.lifecycle import SPAWNED, TRANSITIONS, Event, State, advance
from muxi.process.pulse import Activity
from muxi.process.restart import RestartPolicy
from muxi.process.spec import ProcessSpec
from tests.process.stage import BAD, GOOD, HEALTH, SILENT, PlayedProcess, Stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Step = Callable[["Play"], Awaitable[None]]

SPEC = ProcessSpec(
    process_id="played",
    argv=("played",),
    cwd=Path("/"),
    host="127.0.0.1",
    port=1,  # nobody listens there
    stdout=Path("/dev/null"),
    stderr=Path("/dev/null"),
    env={},
    health=HEALTH,
)
EDGES = {(before, after) for (before, _), after in TRANSITIONS.items()}


class Table(RuleBasedStateMachine):
    """The table alone: an event leads where it says, or is refused and changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State.STOPPED

    @rule(event=st.sampled_from(Event))
    def happen(self, event: Event) -> None:
        if (self.state, event) in TRANSITIONS:
            self.state = advance(self.state, event)
        else:
            with pytest.raises(InternalError):
                advance(self.state, event)

    @invariant()
    def it_can_be_ended(self) -> None:
        state = self.state
        if state not in {State.STOPPED, State.STOPPING}:
            state = advance(state, Event.STOP)
        assert state is State.STOPPED or advance(state, Event.STOPPED) is State.STOPPED


class Play:
    """One instance after the other, the next one when the one before has ended."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.everyone: list[PlayedProcess] = []
        self.raise_the_curtain()

    def raise_the_curtain(self, adopt: PlayedProcess | None = None, state: State = State.STARTING) -> None:
        self.stage = Stage(SPEC, RestartPolicy(max_restarts=3))
        if adopt is not None:
            self.stage.processes.append(adopt)
        self.scope = trio.CancelScope()
        self.nursery.start_soon(self._run, self.stage, adopt, state, self.scope)

    async def _run(
        self, stage: Stage, adopt: PlayedProcess | None, state: State, scope: trio.CancelScope
    ) -> None:
        with scope:
            await stage.instance.run(restart_on_failed_start=True, adopt=adopt, adopt_as=state)

    async def end(self, how: Step) -> None:
        await how(self)
        self.check()
        assert self.stage.instance.state is State.STOPPED
        assert self.living() == []
        self.raise_the_curtain()

    async def pass_on(self) -> None:
        instance = self.stage.instance
        await instance.detach()
        kept, state = self.living(), instance.state
        assert all(process.seen[-1:] == ["let go"] for process in kept)
        self.everyone += self.stage.processes
        self.raise_the_curtain(kept[0] if kept else None, state)

    def living(self) -> list[PlayedProcess]:
        return [one for one in self.stage.processes if "ended" not in one.seen and not one.ended.is_set()]

    def check(self) -> None:
        instance, living = self.stage.instance, self.living()
        assert len(living) <= 1, "never doubled"
        walk = [State.STOPPED, *map(State, self.stage.told)]
        assert all(step in EDGES or step[0] is step[1] for step in pairwise(walk))
        if instance.state in {State.RUNNING, State.UNHEALTHY}:
            assert instance.healthy is (instance.state is State.RUNNING)
            assert instance.pid == self.stage.process.pid
        if instance.state is State.CRASHED:
            assert (instance.pid, living) == (None, [])
            assert instance.reason, "every state has a reason"
            assert instance.next_try_at is not None, "never given up"
        if living:
            assert instance.state in SPAWNED | {State.STOPPING}, "never left behind"


async def exit_by_itself(play: Play, status: int) -> None:
    for process in play.living():
        process.exit(status)
    await trio.sleep(0.001)


async def wait(_play: Play, seconds: float) -> None:
    await trio.sleep(seconds)


async def stop(play: Play) -> None:
    await play.stage.instance.stop()


async def kill(play: Play) -> None:
    await play.stage.instance.kill()


async def cancel(play: Play) -> None:
    play.scope.cancel()
    await trio.sleep(0.001)


class Instances(RuleBasedStateMachine):
    """The rules write a play; it is played at the end, on trio's mock clock."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []

    @rule(status=st.integers(0, 3))
    def exits(self, status: int) -> None:
        self.steps.append(partial(exit_by_itself, status=status))

    @rule(seconds=st.sampled_from([0.001, 0.7, 3.0, 40.0, 200.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.steps.append(partial(wait, seconds=seconds))

    @rule(answer=st.sampled_from([GOOD, BAD, SILENT]), busy=st.booleans(), owns=st.booleans())
    def is_from_now_on(self, answer: object, busy: bool, owns: bool) -> None:
        async def change(play: Play) -> None:
            play.stage.answer = answer  # type: ignore[assignment]
            play.stage.activity = Activity(busy=busy)
            play.stage.owns = owns
            await wait_all_tasks_blocked()

        self.steps.append(change)

    @rule(fails=st.booleans(), stubborn=st.booleans())
    def next_one_will_be(self, fails: bool, stubborn: bool) -> None:
        async def change(play: Play) -> None:
            play.stage.spawn_error = OperatorError("no room") if fails else None
            play.stage.stubborn = stubborn
            await wait_all_tasks_blocked()

        self.steps.append(change)

    @rule(how=st.sampled_from([stop, kill, cancel]))
    def is_ended(self, how: Step) -> None:
        self.steps.append(lambda play: play.end(how))

    @rule()
    def is_passed_on(self) -> None:
        self.steps.append(Play.pass_on)

    def teardown(self) -> None:
        trio.run(self._play, clock=MockClock(autojump_threshold=0))

    async def _play(self) -> None:
        with trio.fail_after(10**6):
            async with trio.open_nursery() as nursery:
                play = Play(nursery)
                for step in self.steps:
                    await step(play)
                    await wait_all_tasks_blocked()
                    play.check()
                await play.stage.instance.stop()
                assert play.living() == []


def test_the_table() -> None:
    run_state_machine_as_test(Table, settings=settings(max_examples=50, stateful_step_count=30))


def test_instances() -> None:
    run_state_machine_as_test(Instances, settings=settings(max_examples=40, stateful_step_count=15))
