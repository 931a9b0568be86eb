"""When processes are measured, and what comes of it; under a clock of the test's own."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from muxi.process import meter as meter_module
from muxi.process import tree
from muxi.process.cgroups import Group, Groups, Place
from muxi.process.confinement import Confiner
from muxi.process.limits import NO_LIMITS, Limits
from muxi.process.meter import InThread, Meter, Reading
from muxi.process.spawn import spawn
from muxi.process.usage import Usage
from tests.process.conftest import alive

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping
    from pathlib import Path

    from muxi.process.confinement import Confinement
    from tests.process.conftest import MakeSpec

    Eventually = Callable[[Callable[[], bool]], Awaitable[None]]

M = 1024**2
PID = 4711


class Scale:
    """Stands for the measuring: the test sets what is seen next, and reads when it was looked."""

    def __init__(self) -> None:
        self.looks: list[float] = []
        self.memory = 10 * M
        self.kills = 0
        self.alive = True
        self.broken = False

    async def __call__(self, members: Collection[Confinement]) -> Mapping[int, Reading]:
        await trio.lowlevel.checkpoint()
        self.looks.append(trio.current_time())
        if self.broken:
            raise RuntimeError("no /proc today")
        used = Usage(1, 1, self.memory, 0.5, 3, trio.current_time())
        return {one.pid: Reading(used, self.kills, self.alive) for one in members}


class Fixture:
    """A meter over one process that does not exist."""

    def __init__(self, make_spec: MakeSpec, limits: Limits, groups: Groups | None = None) -> None:
        self.scale = Scale()
        self.told: list[tuple[str, int]] = []
        self.confiner = Confiner(groups)
        self.one = self.confiner.enter(make_spec("pass", limits=limits), PID, "token", None)
        self.heeded = True
        self.meter = Meter(self.confiner, 10.0, on_soft_limit=self._tell, measure=self.scale)

    def _tell(self, process_id: str, memory: int) -> bool:
        self.told.append((process_id, memory))
        return self.heeded

    async def run_for(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self.meter.run()


@pytest.fixture(autouse=True)
def killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    groups: list[int] = []
    monkeypatch.setattr(tree, "signal_group", lambda group, number: groups.append(group))
    return groups


def grouped(tmp_path: Path) -> Groups:
    return Groups((Place(2, tmp_path, frozenset({"memory"})),))


async def test_it_measures_at_its_interval(
    make_spec: MakeSpec, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    made = Fixture(make_spec, Limits(memory=64 * M), grouped(tmp_path))
    made.one.placed, made.one.group = True, Group(grouped(tmp_path).places)
    await made.run_for(35)
    assert made.scale.looks == pytest.approx([0, 10, 20, 30])
    assert made.confiner.usage(PID) == Usage(1, 1, 10 * M, 0.5, 3, made.scale.looks[-1])
    assert made.confiner.usage(None) is None
    assert made.confiner.usage(1) is None


async def test_nothing_is_looked_at_when_nothing_runs(
    make_spec: MakeSpec, autojump_clock: trio.testing.MockClock
) -> None:
    made = Fixture(make_spec, NO_LIMITS)
    made.one.close()
    await made.run_for(100)
    assert made.scale.looks == []


async def test_memory_that_only_we_watch_is_looked_at_more_often(
    make_spec: MakeSpec, autojump_clock: trio.testing.MockClock
) -> None:
    made = Fixture(make_spec, Limits(memory=64 * M))
    await made.run_for(9)
    assert made.scale.looks == pytest.approx([0, 2, 4, 6, 8])
    idle = Fixture(make_spec, NO_LIMITS)
    await idle.run_for(9)
    assert len(idle.scale.looks) == 1


async def test_past_its_memory_it_is_killed_once_and_that_is_why(
    make_spec: MakeSpec, killed: list[int], autojump_clock: trio.testing.MockClock
) -> None:
    made = Fixture(make_spec, Limits(memory=64 * M))
    await made.run_for(3)
    assert killed == []
    made.scale.memory = 65 * M
    await made.run_for(9)
    assert killed == [PID]
    assert made.one.over_memory


async def test_what_a_group_holds_is_not_killed_by_us(
    make_spec: MakeSpec, tmp_path: Path, killed: list[int], autojump_clock: trio.testing.MockClock
) -> None:
    made = Fixture(make_spec, Limits(memory=64 * M), grouped(tmp_path))
    made.one.placed, made.one.group = True, Group(grouped(tmp_path).places)
    made.scale.memory = 65 * M  # its page cache is not in the group's count as it is in ours
    await made.run_for(30)
    assert killed == []


async def test_one_that_has_been_reaped_meanwhile_is_left_alone(
    make_spec: MakeSpec, killed: list[int], autojump_clock: trio.testing.MockClock
) -> None:
    made = Fixture(make_spec, Limits(memory=64 * M, memory_soft=1 * M))
    made.scale.memory = 65 * M

    async def measure(members: Collection[Confinement]) -> Mapping[int, Reading]:
        readings = await made.scale(members)
        made.one.close()
        return readings

    with trio.move_on_after(5):
        await Meter(made.confiner, 10.0, measure=measure).run()
    assert (killed, made.told) == ([], [])


async def test_an_adopted_one_is_killed_on_proof_only(
    make_spec: MakeSpec, killed: list[int], autojump_clock: trio.testing.MockClock
) -> None:
    """It is no child of ours: its pid may be a stranger's by now."""
    made = Fixture(make_spec, Limits(memory=64 * M))
    made.scale.memory = 65 * M
    made.one.adopted = True
    made.one.pid = os.getpid()  # which has no token
    await made.run_for(5)
    assert (killed, made.one.over_memory) == ([], False)


async def test_the_soft_limit_is_told_once_until_it_is_below_again(
    make_spec: MakeSpec, autojump_clock: trio.testing.MockClock
) -> None:
    made = Fixture(make_spec, Limits(memory_soft=64 * M))
    for memory in (63, 65, 70, 65, 63, 66):
        made.scale.memory = memory * M
        await made.run_for(1)
    assert made.told == [("agent", 65 * M), ("agent", 66 * M)]


async def test_a_soft_limit_that_nobody_could_heed_is_told_again(
    make_spec: MakeSpec, autojump_clock: trio.testing.MockClock
) -> None:
    made = Fixture(make_spec, Limits(memory_soft=64 * M))
    made.scale.memory = 65 * M
    made.heeded = False
    await made.run_for(1)
    made.heeded = True
    await made.run_for(1)
    await made.run_for(1)
    assert made.told == [("agent", 65 * M)] * 2


async def test_a_new_process_past_the_soft_limit_is_told_anew(
    make_spec: MakeSpec, autojump_clock: trio.testing.MockClock
) -> None:
    made = Fixture(make_spec, Limits(memory_soft=64 * M))
    made.scale.memory = 65 * M
    await made.run_for(1)
    made.one.close()
    made.confiner.enter(make_spec("pass", limits=Limits(memory_soft=64 * M)), PID + 1, "token", None)
    await made.run_for(1)
    assert made.told == [("agent", 65 * M)] * 2


async def test_a_helper_that_was_killed_is_told_when_the_first_process_lives_on(
    make_spec: MakeSpec, autojump_clock: trio.testing.MockClock
) -> None:
    made = Fixture(make_spec, Limits(memory=64 * M))
    made.scale.kills = 1
    await made.run_for(1)
    assert (made.one.kills_seen, made.one.kills_told) == (1, 0)  # it may be the first one that dies
    await made.run_for(1)
    assert made.one.kills_told == 1


async def test_a_first_process_that_was_killed_is_no_helper(
    make_spec: MakeSpec, autojump_clock: trio.testing.MockClock
) -> None:
    made = Fixture(make_spec, Limits(memory=64 * M))
    made.scale.kills = 1
    await made.run_for(1)
    made.scale.alive = False
    await made.run_for(1)
    assert made.one.kills_told == 0


async def test_a_round_that_fails_is_not_the_last(
    make_spec: MakeSpec, autojump_clock: trio.testing.MockClock
) -> None:
    made = Fixture(make_spec, NO_LIMITS)
    made.scale.broken = True
    await made.run_for(25)
    assert len(made.scale.looks) == 3


async def test_a_real_process_past_its_memory_is_killed_and_says_why(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(meter_module, "WATCH_INTERVAL", 0.05)
    confiner = Confiner()
    code = "import time; data = bytearray(100 * 1024 * 1024); print('eaten', flush=True); time.sleep(600)"
    child = await spawn(make_spec(code, limits=Limits(memory=64 * M)), confiner=confiner)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Meter(confiner, 10.0, measure=InThread()).run)
            await child.wait()
            nursery.cancel_scope.cancel()
        report = await child.end(expected=False)
    assert report.signal_number == signal.SIGKILL
    assert report.describe() == "ran out of memory (limit 64M)"
    assert not alive(child.pid)
