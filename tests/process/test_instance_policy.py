"""What an instance does over time: processes are played, the clock is trio's mock clock."""

from __future__ import annotations

from dataclasses import replace as changed
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from muxi.errors import FormationFailed, InternalError, MuxiError, OperatorError
from muxi.process.pulse import Activity
from muxi.process.restart import RestartPolicy
from tests.process.stage import BAD, GOOD, HEALTH, SILENT, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

    from muxi.process.health import HealthCheck
    from tests.process.conftest import MakeSpec

    Setting = Callable[..., "Stage"]


@pytest.fixture
def setting(make_spec: MakeSpec) -> Setting:
    def make(
        policy: RestartPolicy | None = None, health: HealthCheck = HEALTH, restart_count: int = 0
    ) -> Stage:
        spec = make_spec(("played",), health=health, stop_timeout=10.0)
        return Stage(spec, policy or RestartPolicy(), restart_count)

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
        assert stage.attempts == [(1, 69, BAD.detail), (2, 69, BAD.detail), (3, 69, GOOD.detail)]
        await instance.stop()
    assert stage.told == ["starting", "running", "stopping", "stopped"]
    assert (str(instance.state), instance.reason) == ("stopped", None)
    assert (instance.pid, instance.healthy) == (None, None)
    assert instance.last_exit is not None
    assert instance.last_exit.clean
    assert instance.port_free
    assert stage.process.seen == ["asked", "ended"]


async def crash(stage: Stage) -> None:
    """Let the process that is healthy, or will soon be, end by itself."""
    await stage.instance.wait_healthy()
    stage.process.exit(3)
    await stage.instance.changed()
    assert stage.instance.state == "crashed"


async def test_crashes_wait_longer_and_longer_until_they_are_a_loop(
    setting: Setting, autojump_clock: MockClock
) -> None:
    stage = setting(RestartPolicy(max_restarts=8, delay=1.0))
    stage.spread = 0.0
    instance = stage.instance
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        for _ in range(8):
            await crash(stage)
            assert instance.reason == "exit status 3"
            assert not instance.crash_loop
            await trio.sleep(65)
        await crash(stage)
        await wait_all_tasks_blocked()
        assert instance.crash_loop
        assert instance.next_try_at is not None
        assert instance.reason == (
            "exit status 3; failed 9 times without staying healthy, so it is tried slowly; "
            "`restart` tries at once"
        )
        await trio.sleep(305)
        assert instance.state == "running"
        looped = [instance.crash_loop]
        await trio.sleep(600)
        looped.append(instance.crash_loop)
        assert looped == [True, False]  # until it has been healthy for long
        await crash(stage)
        await trio.sleep(10)
        await instance.stop()
    assert stage.pauses == [1, 2, 4, 8, 16, 32, 60, 60, 300, 1]
    assert instance.restart_count == 10  # what people see is never forgotten
    assert (instance.state, stage.told[-1]) == ("stopped", "stopped")


async def test_a_crash_loop_is_tried_for_ever(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting(RestartPolicy(max_restarts=1, delay=1.0))
    stage.spread = 0.0
    stage.spawn_error = OperatorError("no network")
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await trio.sleep(24 * 3600)
        assert stage.pauses[:3] == [1, 300, 300]
        assert set(stage.pauses[1:]) == {300}
        stage.spawn_error = None
        await trio.sleep(301)
        assert stage.instance.state == "running"
        await stage.instance.stop()


@pytest.mark.parametrize(("healthy_for", "second_pause"), [(599, 2), (601, 1)])
async def test_ten_minutes_of_health_make_crashes_forgotten(
    setting: Setting, autojump_clock: MockClock, healthy_for: float, second_pause: float
) -> None:
    stage = setting(RestartPolicy(delay=1.0))
    stage.spread = 0.0
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
    stage.spread = 0.0
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
        await trio.sleep(1.11)  # the next try is under way now
        await stage.instance.wait_healthy()
        assert stage.instance.restart_count == 1
        await stage.instance.stop()


async def test_a_first_spawn_that_fails_is_not_tried_again(
    setting: Setting, autojump_clock: MockClock
) -> None:
    stage = setting()
    stage.spawn_error = OperatorError("no room", code="SpawnError")
    async with trio.open_nursery() as nursery:
        await start(stage, nursery, restart_on_failed_start=False)
        with pytest.raises(OperatorError, match="no room"):
            await stage.instance.wait_healthy()
    assert len(stage.spawned_at) == 1
    assert (stage.instance.reason, stage.instance.next_try_at) == ("no room", None)


async def test_with_auto_restart_off_nothing_is_tried_again(
    setting: Setting, autojump_clock: MockClock
) -> None:
    stage = setting(RestartPolicy(auto_restart=False))
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await stage.instance.wait_healthy()
        stage.process.exit(3)
    assert stage.told == ["starting", "running", "crashed"]
    assert stage.instance.reason == "exit status 3; auto_restart is off; `restart` starts it again"
    assert stage.instance.next_try_at is None


async def test_no_delay_means_at_once(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting(RestartPolicy(max_restarts=3, delay=0.0))
    stage.spawn_error = OperatorError("no room")
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await trio.sleep(1)
        await stage.instance.stop()
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


async def test_a_defect_of_ours_stays_within_this_instance_and_is_mended_by_a_restart(
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
        assert (str(instance.state), instance.pid) == ("crashed", None)
        assert "server failed" in (instance.reason or "")
        assert stage.process.seen == ["ended"]
        await trio.sleep(2)
        await instance.wait_healthy()
        assert instance.pid == 1001
        await instance.stop()


async def test_a_spawn_that_meets_a_defect(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting()
    stage.spawn_error = RuntimeError("canary")
    async with trio.open_nursery() as nursery:
        await start(stage, nursery, restart_on_failed_start=False)
        with pytest.raises(MuxiError) as caught:
            await stage.instance.wait_healthy()
    assert "canary" not in caught.value.message + str(stage.instance.reason)
    assert stage.instance.state == "crashed"


async def test_a_listener_that_fails_costs_nothing(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting()

    def fail() -> None:
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
    stage = setting(health=changed(HEALTH, readiness=changed(HEALTH.readiness, interval=5.0, threshold=1)))
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await stage.instance.wait_healthy()
        stage.probes.append(BAD)
        await trio.sleep(5.5)
        assert stage.instance.state == "unhealthy"
        await trio.sleep(1)
        assert stage.instance.state == "running"
        await stage.instance.stop()


async def test_one_that_gives_no_answer_is_hung_ended_and_started_anew(
    setting: Setting, autojump_clock: MockClock
) -> None:
    stage = setting()
    instance = stage.instance
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await instance.wait_healthy()
        stage.answer = SILENT
        await trio.sleep(30 * 3 + 1)
        assert stage.process.seen == ["asked"]  # it may end in good order
        stage.answer = GOOD
        await trio.sleep(1)
        assert instance.reason == (
            "Formation hung: no answer for 1m0s (GET /v1/health: no answer within 5 s); it was ended"
        )
        assert instance.last_exit is not None
        assert instance.last_exit.expected
        await trio.sleep(2)
        assert (instance.state, instance.pid, instance.restart_count) == ("running", 1001, 1)
        await instance.stop()
    assert stage.told == (
        ["starting", "running", "unhealthy", "crashed", "restarting", "running", "stopping", "stopped"]
    )


async def test_bad_answers_are_answers(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting()
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await stage.instance.wait_healthy()
        stage.answer = BAD
        await trio.sleep(3 * 3600)
        assert (stage.instance.state, stage.instance.pid) == ("unhealthy", 1000)
        await stage.instance.stop()


async def test_a_busy_one_is_unhealthy_and_left_alone_for_as_long_as_it_lives(
    setting: Setting, autojump_clock: MockClock
) -> None:
    stage = setting()
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await stage.instance.wait_healthy()
        stage.answer = SILENT
        stage.activity = Activity(busy=True)
        for _ in range(60):
            await trio.sleep(30)
            stage.activity = Activity(busy=True, moved=stage.activity.moved + 1)
        assert (stage.instance.state, stage.instance.pid) == ("unhealthy", 1000)
        for _ in range(60):
            await trio.sleep(30)
            stage.process.cpu += 10
        assert stage.instance.pid == 1000
        await trio.sleep(65)  # no sign at all for the whole grace
        assert stage.processes[0].seen == ["asked", "ended"]
        await stage.instance.stop()


async def test_liveness_may_have_a_path_of_its_own(setting: Setting, autojump_clock: MockClock) -> None:
    liveness = changed(HEALTH.liveness, paths=("/alive",), interval=10.0)
    stage = setting(health=changed(HEALTH, liveness=liveness))
    stage.alive = BAD
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await stage.instance.wait_healthy()
        await trio.sleep(30.5)  # asked to end at 30, it takes a second
        assert stage.process.seen == ["asked"]  # a bad answer is not enough there
        assert stage.instance.last_probe == BAD
        await stage.instance.stop()


async def test_liveness_can_be_switched_off(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting(health=changed(HEALTH, liveness=changed(HEALTH.liveness, threshold=0)))
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await stage.instance.wait_healthy()
        stage.answer = SILENT
        await trio.sleep(3600)
        assert (stage.instance.state, stage.instance.pid) == ("unhealthy", 1000)
        await stage.instance.stop()


async def test_a_stranger_on_the_port_is_never_taken_for_it(
    setting: Setting, autojump_clock: MockClock
) -> None:
    stage = setting()
    stage.owns = False
    async with trio.open_nursery() as nursery:
        await start(stage, nursery, restart_on_failed_start=False)
        with pytest.raises(FormationFailed, match="in use by another program"):
            await stage.instance.wait_healthy()
    assert "running" not in stage.told
    assert stage.process.seen == ["ended"]


async def test_a_listener_of_which_nothing_can_be_told_is_accepted(
    setting: Setting, autojump_clock: MockClock
) -> None:
    stage = setting()
    stage.owns = None
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await stage.instance.wait_healthy()
        await stage.instance.stop()


async def test_checks_are_spread_by_chance(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting()
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await stage.instance.wait_healthy()
        for stage.spread in (0.0, 1.0, 0.5):
            await trio.sleep(100)
        await stage.instance.stop()
    gaps = {round(b - a) for a, b in zip(stage.probed_at[1:], stage.probed_at[2:], strict=False)}
    assert gaps == {27, 33, 30}


@pytest.mark.parametrize("state", ["running", "unhealthy", "starting"])
async def test_one_that_is_let_go_lives_on_and_is_adopted_as_it_is(
    setting: Setting, autojump_clock: MockClock, state: str
) -> None:
    stage = setting()
    stage.answer = BAD if state == "starting" else GOOD
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await trio.sleep(3)
        stage.answer = BAD if state != "running" else GOOD
        await trio.sleep(100 if state != "starting" else 1)
        assert stage.instance.state == state
        await stage.instance.detach()
    process = stage.process
    assert (stage.instance.state, stage.instance.pid) == (state, process.pid)
    assert process.seen == ["let go"]
    next_one = setting()
    process.adopted = True
    next_one.answer = stage.answer
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(
                next_one.instance.run,
                restart_on_failed_start=True,
                adopt=process,
                adopt_as=stage.instance.state,
            )
        )
        await wait_all_tasks_blocked()
        assert (next_one.instance.state, next_one.instance.pid) == (state, process.pid)
        assert next_one.instance.adopted
        assert (next_one.instance.reason is not None) is (state == "unhealthy")
        assert next_one.processes == []  # nothing was started
        next_one.answer = GOOD
        await trio.sleep(2)
        assert next_one.instance.state == "running"
        process.exit(3)
        await trio.sleep(2)
        assert (next_one.instance.pid, next_one.instance.adopted) == (1000, False)
        await next_one.instance.stop()


async def test_letting_go_of_one_that_waits_to_be_tried_again(
    setting: Setting, autojump_clock: MockClock
) -> None:
    stage = setting(RestartPolicy(delay=50.0))
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await crash(stage)
        await stage.instance.detach()
    assert (stage.instance.state, stage.instance.pid) == ("crashed", None)


async def test_a_stop_under_way_goes_before_letting_go(setting: Setting, autojump_clock: MockClock) -> None:
    stage = setting()
    async with trio.open_nursery() as nursery:
        await start(stage, nursery)
        await stage.instance.wait_healthy()
        nursery.start_soon(stage.instance.stop)
        await trio.sleep(0.5)
        await stage.instance.detach()
    assert stage.process.seen == ["asked", "ended"]
    assert stage.instance.state == "stopped"
