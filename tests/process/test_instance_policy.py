"""What an instance does over time: processes are played, the clock is trio's mock clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from dataclasses import replace as changed
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from muxi.errors import FormationFailed, InternalError, MuxiError, OperatorError
from muxi.process.instance import Instance
from muxi.process.probe import ProbeResult
from muxi.process.restart import RestartPolicy
from muxi.process.spec import ExitReport, HealthCheck, ProcessSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

    from muxi.process.identity import Identity
    from tests.process.conftest import MakeSpec

    Setting = Callable[..., "Stage"]

GOOD = ProbeResult(True, "GET /v1/health: 200")
BAD = ProbeResult(False, "GET /v1/health: 503")
HEALTH = HealthCheck(interval=1.0, timeout=5.0, startup_timeout=60.0, period=30.0, unhealthy_threshold=3)


@dataclass
class PlayedProcess:
    """A process that does as the test says."""

    pid: int
    stubborn: bool = False
    unkillable: bool = False
    started_at: float = 1.0
    identity: Identity | None = None
    status: int | None = None
    ended: trio.Event = field(default_factory=trio.Event)
    seen: list[str] = field(default_factory=list)

    def exit(self, status: int) -> None:
        self.status = status
        self.ended.set()

    async def wait(self) -> None:
        await self.ended.wait()

    async def ask_to_end(self) -> None:
        self.seen.append("asked")
        if not self.stubborn:
            await trio.sleep(1)
            self.exit(0)
        await self.ended.wait()

    async def end(self, *, expected: bool) -> ExitReport:
        await trio.lowlevel.checkpoint()
        if self.unkillable:
            raise OperatorError(f"Process {self.pid} does not end.", code="StopError")
        self.seen.append("ended")
        signal_number = None if self.status is not None else 9
        return ExitReport(self.status, signal_number, expected, at=1.0)

    async def log_tail(self) -> list[str]:
        return ["stderr: last words"]


class Stage:
    """An instance under test, its processes in order, and all states that it told of."""

    def __init__(self, spec: ProcessSpec, policy: RestartPolicy, **kwargs: object) -> None:
        self.processes: list[PlayedProcess] = []
        self.spawned_at: list[float] = []
        self.crashed_at: list[float] = []
        self.probed_at: list[float] = []
        self.attempts: list[tuple[int, int, str]] = []
        self.told: list[str] = []
        self.probes: deque[ProbeResult] = deque()  # then `answer` for ever
        self.answer = GOOD
        self.spawn_error: Exception | None = None
        self.stubborn = self.unkillable = False  # how the next process is
        self.instance = Instance(
            spec,
            policy,
            on_change=self.note,
            on_attempt=lambda *attempt: self.attempts.append(attempt),
            launch=self.launch,
            check=self.check,
            **kwargs,  # type: ignore[arg-type]
        )

    def note(self, instance: Instance) -> None:
        if not self.told or self.told[-1] != instance.state:
            self.told.append(str(instance.state))
            if instance.state == "crashed":
                self.crashed_at.append(trio.current_time())

    async def launch(self, _spec: ProcessSpec) -> PlayedProcess:
        await trio.lowlevel.checkpoint()
        self.spawned_at.append(trio.current_time())
        if self.spawn_error is not None:
            raise self.spawn_error
        self.processes.append(PlayedProcess(1000 + len(self.processes), self.stubborn, self.unkillable))
        return self.processes[-1]

    async def check(self, _host: str, _port: int, _health: HealthCheck) -> ProbeResult:
        await trio.lowlevel.checkpoint()
        self.probed_at.append(trio.current_time())
        return self.probes.popleft() if self.probes else self.answer

    @property
    def process(self) -> PlayedProcess:
        return self.processes[-1]

    @property
    def pauses(self) -> list[float]:
        """Seconds from each crash to the next spawn."""
        return [round(b - a, 3) for a, b in zip(self.crashed_at, self.spawned_at[1:], strict=False)]


@pytest.fixture
def setting(make_spec: MakeSpec) -> Setting:
    def make(policy: RestartPolicy | None = None, health: HealthCheck = HEALTH, **kwargs: object) -> Stage:
        spec = make_spec(("played",), health=health, stop_timeout=10.0)
        return Stage(spec, policy or RestartPolicy(), **kwargs)

    return make


async def start(stage: Stage, nursery: trio.Nursery, *, restart_on_failed_start: bool = True) -> None:
    await nursery.start(partial(stage.instance.run, restart_on_failed_start=restart_on_failed_start))


async def test_a_whole_life(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting()
    stage.probes.extend([BAD, BAD])
    instance = stage.instance
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await instance.wait_healthy()
        assert (str(instance.state), instance.healthy, instance.pid) == ("running", True, 1000)
        assert stage.attempts == [(1, 63, BAD.detail), (2, 63, BAD.detail), (3, 63, GOOD.detail)]
        await instance.stop()
    assert stage.told == ["starting", "running", "stopping", "stopped"]
    assert (str(instance.state), instance.reason) == ("stopped", None)
    assert (instance.pid, instance.healthy) == (None, None)
    assert instance.last_exit is not None
    assert instance.last_exit.clean
    assert instance.port_free
    assert stage.process.seen == ["asked", "ended"]


async def test_crashes_wait_longer_and_longer_until_it_is_given_up(
    setting: Setting, autojump_clock: MockClock
) -> None:
    stage = setting(RestartPolicy(max_restarts=8, delay=1.0))
    stage.answer = GOOD
    instance = stage.instance
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        for _ in range(9):
            await instance.wait_healthy()
            stage.process.exit(3)
            await wait_all_tasks_blocked()
            if instance.state == "crashed" and instance.next_try_at is not None:
                assert instance.reason == "exit status 3"
                await trio.sleep(100)
    assert stage.pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert instance.state == "crashed"
    assert instance.next_try_at is None
    assert instance.restart_count == 8
    assert instance.reason == (
        "exit status 3; restarted 8 times without staying healthy; `restart` starts it again"
    )
    assert "restarting" in stage.told
    await instance.stop()
    assert (instance.state, stage.told[-1]) == ("stopped", "stopped")


@pytest.mark.parametrize(("healthy_for", "second_pause"), [(599, 2), (601, 1)])
async def test_ten_minutes_of_health_make_crashes_forgotten(
    setting: Setting, autojump_clock: MockClock, healthy_for: float, second_pause: float
) -> None:
    stage = setting(RestartPolicy(delay=1.0))
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await stage.instance.wait_healthy()
        stage.process.exit(1)
        await trio.sleep(5)
        await stage.instance.wait_healthy()
        second = stage.process
        await trio.sleep(healthy_for - 5 + 1.05)
        ended_at = trio.current_time()
        second.exit(1)
        await trio.sleep(10)
        assert len(stage.processes) == 3
        assert round(stage.spawned_at[-1] - ended_at, 3) == second_pause
        assert stage.instance.restart_count == 2  # what people see is never forgotten
        await stage.instance.stop()


async def test_health_with_a_break_is_not_forgiven(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting(RestartPolicy(delay=1.0))
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await stage.instance.wait_healthy()
        stage.process.exit(1)
        await trio.sleep(5)
        await trio.sleep(400)
        stage.probes.extend([BAD] * 3)
        await trio.sleep(400)
        assert stage.told[-2:] == ["unhealthy", "running"]
        ended_at = trio.current_time()
        stage.process.exit(1)
        await trio.sleep(10)
        assert round(stage.spawned_at[-1] - ended_at, 3) == 2
        await stage.instance.stop()


async def test_failed_checks_make_it_unhealthy_and_a_good_one_heals(
    setting: Setting, autojump_clock: MockClock
) -> None:
    stage = setting()
    instance = stage.instance
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await instance.wait_healthy()
        stage.probes.extend([BAD, BAD, GOOD, BAD, BAD, BAD, BAD])
        await trio.sleep(30 * 5 + 1)
        assert (instance.state, instance.healthy) == ("running", True)  # never three in a row so far
        await trio.sleep(30)
        assert (instance.state, instance.healthy) == ("unhealthy", False)
        assert instance.reason == BAD.detail
        assert instance.pid == 1000  # kept
        await trio.sleep(2)  # looked at every second now
        assert not instance.reason
        assert instance.healthy
        await instance.stop()
    assert [round(b - a) for a, b in zip(stage.probed_at[-9:], stage.probed_at[-8:], strict=False)] == (
        [30] * 6 + [1, 1]
    )


async def test_deploy_that_crashes_ends_at_once_and_says_why(
    setting: Setting, autojump_clock: MockClock
) -> None:
    stage = setting()
    stage.answer = BAD
    instance = stage.instance
    async with trio.open_nursery() as nursery:
        await start(stage, nursery, restart_on_failed_start=False)
        await trio.sleep(2.5)
        begun = trio.current_time()
        stage.process.exit(3)
        with pytest.raises(FormationFailed, match="crashed during startup: exit status 3") as caught:
            await instance.wait_healthy()
        assert trio.current_time() == begun
    assert caught.value.details["log_tail"] == ["stderr: last words"]
    assert caught.value.details["probe"] == BAD.detail
    assert (str(instance.state), instance.reason, instance.restart_count) == ("crashed", "exit status 3", 0)
    with pytest.raises(FormationFailed):  # whoever asks later is told, too
        await instance.wait_healthy()


async def test_deploy_that_never_gets_healthy_is_killed_in_time(
    setting: Setting, autojump_clock: MockClock
) -> None:
    stage = setting()
    stage.answer = BAD
    async with trio.open_nursery() as nursery:
        await start(stage, nursery, restart_on_failed_start=False)
        begun = trio.current_time()
        with pytest.raises(FormationFailed, match="failed health check after 1m0s: GET /v1/health: 503"):
            await stage.instance.wait_healthy()
        assert trio.current_time() - begun == pytest.approx(60)
    assert stage.process.seen == ["ended"]
    assert stage.instance.state == "crashed"


async def test_restored_one_that_fails_to_start_is_tried_again(
    setting: Setting, autojump_clock: MockClock
) -> None:
    stage = setting(RestartPolicy(delay=1.0))
    stage.answer = BAD
    async with trio.open_nursery() as nursery:
        await start(stage, nursery, restart_on_failed_start=True)
        with pytest.raises(FormationFailed):
            await stage.instance.wait_healthy()
        stage.answer = GOOD
        await trio.sleep(1.01)  # the next try is under way now
        await stage.instance.wait_healthy()
        assert stage.instance.restart_count == 1
        await stage.instance.stop()


@pytest.mark.parametrize("restart", [True, False])
async def test_spawn_that_fails(setting: Setting, autojump_clock: MockClock, restart: bool) -> None:
    stage = setting(RestartPolicy(max_restarts=2, delay=1.0))
    stage.spawn_error = OperatorError("no room", code="SpawnError")
    async with trio.open_nursery() as nursery:
        await start(stage, nursery, restart_on_failed_start=restart)
        with pytest.raises(OperatorError, match="no room"):
            await stage.instance.wait_healthy()
    assert len(stage.spawned_at) == (3 if restart else 1)
    assert (stage.instance.reason or "").startswith("no room")


async def test_no_delay_means_at_once(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting(RestartPolicy(max_restarts=3, delay=0.0))
    stage.spawn_error = OperatorError("no room")
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
    assert stage.pauses == [0, 0, 0]


async def test_stubborn_one_is_killed_after_the_grace(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting()
    stage.stubborn = True
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await stage.instance.wait_healthy()
        begun = trio.current_time()
        await stage.instance.stop()
        assert trio.current_time() - begun == pytest.approx(10)
    assert stage.process.seen == ["asked", "ended"]


async def test_kill_cuts_short_a_stop_under_way(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting()
    stage.stubborn = True
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await stage.instance.wait_healthy()
        begun = trio.current_time()
        nursery.start_soon(stage.instance.stop)
        await trio.sleep(3)
        await stage.instance.kill()
        assert trio.current_time() - begun == pytest.approx(3)
    assert stage.instance.state == "stopped"


async def test_stop_by_many_and_by_one_that_leaves(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting()
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.5):
            await stage.instance.stop()
        for _ in range(3):
            nursery.start_soon(stage.instance.stop)
    await stage.instance.stop()
    assert stage.told == ["starting", "stopping", "stopped"]
    assert stage.process.seen == ["asked", "ended"]


async def test_stop_while_it_waits_to_try_again(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting(RestartPolicy(delay=50.0))
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await stage.instance.wait_healthy()
        stage.process.exit(1)
        await trio.sleep(10)
        begun = trio.current_time()
        await stage.instance.stop()
        assert trio.current_time() == begun
    assert stage.told == ["starting", "running", "crashed", "stopping", "stopped"]
    assert stage.instance.next_try_at is None


async def test_stop_before_it_ran(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting()
    await stage.instance.stop()
    await stage.instance.run(restart_on_failed_start=True)
    assert set(stage.told) == {"stopped"}
    assert not stage.processes
    with pytest.raises(FormationFailed, match="stopped before it was healthy"):
        await stage.instance.wait_healthy()


async def test_waiting_for_health_ends_when_it_is_stopped(
    setting: Setting, autojump_clock: MockClock
) -> None:
    stage = setting()
    stage.answer = BAD
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await trio.sleep(1)
        nursery.start_soon(stage.instance.stop)
        with pytest.raises(FormationFailed, match="stopped before it was healthy"):
            await stage.instance.wait_healthy()


@pytest.mark.parametrize("after", [0.01, 5.0, 31.0])
async def test_cancelled_run_leaves_nothing(
    setting: Setting, autojump_clock: MockClock, after: float
) -> None:
    stage = setting()
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await trio.sleep(after)
        nursery.cancel_scope.cancel()
    assert stage.process.seen == ["ended"]  # killed, not asked
    assert stage.told[-2:] == ["stopping", "stopped"]
    assert stage.instance.pid is None


async def test_cancelled_while_it_waits_to_try_again(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting(RestartPolicy(delay=50.0))
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await stage.instance.wait_healthy()
        stage.process.exit(1)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert stage.told[-2:] == ["stopping", "stopped"]


async def test_one_that_cannot_be_killed_is_said_to_be_there(
    setting: Setting, autojump_clock: MockClock
) -> None:
    stage = setting()
    stage.stubborn = stage.unkillable = True
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await stage.instance.wait_healthy()
        with pytest.raises(OperatorError, match="does not end"):
            await stage.instance.stop()
    assert stage.instance.state == "crashed"
    assert (stage.instance.reason or "").startswith("Process 1000 does not end.")
    assert stage.instance.pid == 1000


async def test_a_defect_of_ours_stays_within_this_instance(
    setting: Setting, autojump_clock: MockClock
) -> None:
    stage = setting()
    instance = stage.instance
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await instance.wait_healthy()
        stage.probes.append(None)  # type: ignore[arg-type] # the next check meets a defect
        await trio.sleep(31)
        with pytest.raises(InternalError, match="server failed"):
            await instance.wait_healthy()
    assert instance.state == "crashed"
    assert "server failed" in (instance.reason or "")
    assert stage.process.seen == ["ended"]


async def test_a_spawn_that_meets_a_defect(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting()
    stage.spawn_error = RuntimeError("canary")
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        with pytest.raises(MuxiError) as caught:
            await stage.instance.wait_healthy()
    assert "canary" not in caught.value.message + str(stage.instance.reason)
    assert stage.instance.state == "crashed"


async def test_a_listener_that_fails_costs_nothing(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting()

    def fail(_instance: Instance) -> None:
        raise RuntimeError("listener")

    stage.instance._on_change = fail
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await stage.instance.wait_healthy()
        await stage.instance.stop()
    assert stage.instance.state == "stopped"
    assert stage.process.seen == ["asked", "ended"]


async def test_restart_count_goes_on_from_before(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting(RestartPolicy(max_restarts=1, delay=1.0), restart_count=41)
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await stage.instance.wait_healthy()
        stage.process.exit(0)  # also an exit with 0 is one that nobody asked for
        await trio.sleep(3)
        assert stage.instance.restart_count == 42
        await stage.instance.stop()


async def test_short_period_and_low_threshold(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting(health=changed(HEALTH, period=5.0, unhealthy_threshold=1))
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await stage.instance.wait_healthy()
        stage.probes.append(BAD)
        await trio.sleep(5.5)
        assert stage.instance.state == "unhealthy"
        await trio.sleep(1)
        assert stage.instance.state == "running"
        await stage.instance.stop()
