"""Instances with real processes, real sockets and the real clock."""

from __future__ import annotations

import json
import os
import signal
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from muxi.errors import FormationFailed
from muxi.process.identity import still_ours
from muxi.process.instance import Instance
from muxi.process.lifecycle import State
from muxi.process.means import Means
from muxi.process.ports import is_free
from muxi.process.restart import RestartPolicy
from tests.process.conftest import NO_CHECK, QUICK, alive, children

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from muxi.process.spec import ProcessSpec
    from tests.process.conftest import MakeSpec

    Eventually = Callable[[Callable[[], bool]], Awaitable[None]]

AT_ONCE = RestartPolicy(delay=0.0)


class Kept(Instance):
    """An instance that notes its changes, and lets a test wait for one."""

    def __init__(
        self, spec: ProcessSpec, policy: RestartPolicy = AT_ONCE, *, means: Means | None = None
    ) -> None:
        self.states: list[str] = []
        self._seen = 0
        self.attempts: list[tuple[int, int, str]] = []
        super().__init__(
            spec,
            policy,
            on_change=lambda _: self.states.append(str(self.state)),
            means=means or Means(on_attempt=lambda *attempt: self.attempts.append(attempt)),
        )

    async def reach(self, state: str) -> None:
        """Wait until it comes into a state, or has since the last such call, however briefly."""
        while state not in self.states[self._seen :]:
            await self.changed()
        self._seen += self.states[self._seen :].index(state) + 1


@asynccontextmanager
async def kept(instance: Kept, *, restart_on_failed_start: bool = False) -> AsyncIterator[None]:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(instance.run, restart_on_failed_start=restart_on_failed_start))
            yield
            await instance.stop()


async def get(instance: Instance, path: str) -> httpx.Response:
    async with httpx.AsyncClient(verify=False, trust_env=False) as client:
        return await client.get(f"http://127.0.0.1:{instance.spec.port}{path}")


async def kill_process(instance: Instance) -> None:
    assert instance.pid is not None
    os.kill(instance.pid, signal.SIGKILL)


async def test_it_comes_up_serves_and_goes(make_spec: MakeSpec) -> None:
    instance = Kept(make_spec("agent.py"))
    async with kept(instance):
        await instance.wait_healthy()
        assert (instance.state, instance.healthy) == (State.RUNNING, True)
        assert (await get(instance, "/v1/health")).status_code == 200
        assert instance.identity is not None
        assert instance.started_at is not None
        assert still_ours(instance.identity)
        assert instance.attempts[-1][2] == "GET /v1/health: 200"
    assert instance.state == "stopped"
    assert instance.port_free
    assert is_free("127.0.0.1", instance.spec.port)
    assert instance.last_exit is not None
    assert (instance.last_exit.signal_number, instance.last_exit.clean) == (signal.SIGTERM, True)


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import sys; print('cannot import'); sys.exit(3)", "exit status 3: cannot import"),
        ("pass", "exit status 0"),
        ("import os; os.kill(os.getpid(), 11)", "killed by SIGSEGV"),
        ("import sys; sys.exit('no key given')", "exit status 1: no key given"),
    ],
)
async def test_deploy_of_one_that_ends_says_how(make_spec: MakeSpec, code: str, how: str) -> None:
    instance = Kept(make_spec(code))
    async with kept(instance):
        with pytest.raises(FormationFailed) as caught:
            await instance.wait_healthy()
        assert caught.value.message == f"Formation crashed during startup: {how}"
        assert instance.state == "crashed"
    assert instance.restart_count == 0


async def test_deploy_of_one_that_never_listens(make_spec: MakeSpec) -> None:
    health = replace(QUICK, start_up=replace(QUICK.start_up, budget=2.0))
    instance = Kept(make_spec("print('thinking', flush=True); import time; time.sleep(600)", health=health))
    async with kept(instance):
        await trio.testing.wait_all_tasks_blocked(0.01)
        pid = instance.pid
        with pytest.raises(FormationFailed) as caught:
            await instance.wait_healthy()
        assert pid is not None
        assert not alive(pid)
    assert caught.value.message == (
        "Formation failed health check after 2s: GET /v1/health: connection refused"
    )
    assert caught.value.details["log_tail"] == ["stdout: thinking"]


@pytest.mark.parametrize(
    ("env", "seen"),
    [
        ({"HEALTH": "503,503,200"}, "GET /v1/health: 200"),
        ({"HEALTH_PATH": "/health"}, "GET /health: 200"),
    ],
)
async def test_health_that_takes_a_while(make_spec: MakeSpec, env: dict[str, str], seen: str) -> None:
    instance = Kept(make_spec("agent.py", env=env))
    async with kept(instance):
        await instance.wait_healthy()
        assert instance.last_probe == (True, seen, True)


async def test_a_port_that_somebody_holds(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer of a stranger on the port must not count as the formation's."""
    monkeypatch.setattr("muxi.process.means.PORT_TIMEOUT", 0.05)
    first, second = Kept(make_spec("agent.py")), Kept(make_spec("agent.py"))
    async with kept(first):
        await first.wait_healthy()
        async with kept(second):
            with pytest.raises(FormationFailed, match="in use by another program") as caught:
                await second.wait_healthy()
            assert caught.value.code == "SpawnError"
        assert second.pid is None


async def test_crash_after_health_is_restarted_with_the_whole_environment(make_spec: MakeSpec) -> None:
    instance = Kept(make_spec("agent.py", env={"MODEL": "a b=c", "API_KEY": "secret"}))
    async with kept(instance):
        await instance.wait_healthy()
        before, pid = (await get(instance, "/env")).json(), instance.pid
        with pytest.raises(httpx.HTTPError):
            await get(instance, "/die?7")
        await instance.reach("crashed")
        assert instance.last_exit is not None
        assert instance.last_exit.status == 7
        await instance.reach("running")
        after = (await get(instance, "/env")).json()
        assert instance.pid != pid
        assert before.pop("MUXI_INSTANCE_TOKEN") != after.pop("MUXI_INSTANCE_TOKEN")
        assert before == after
        assert after["API_KEY"] == "secret"
        assert instance.restart_count == 1
    assert "restarting" in instance.states


async def test_kill_from_outside_is_seen_and_mended(make_spec: MakeSpec) -> None:
    instance = Kept(make_spec("agent.py"))
    async with kept(instance):
        for count in range(1, 4):
            await instance.wait_healthy()
            await kill_process(instance)
            await instance.reach("crashed")
            assert instance.last_exit is not None
            assert instance.last_exit.describe() == "killed by SIGKILL"
            assert not instance.last_exit.clean
            await instance.reach("running")
            assert instance.restart_count == count


async def test_one_that_flaps_is_a_crash_loop_and_not_given_up(make_spec: MakeSpec) -> None:
    policy = RestartPolicy(max_restarts=4, delay=0.0, max_delay=0.0)
    instance = Kept(make_spec("raise SystemExit(5)"), policy)
    async with kept(instance, restart_on_failed_start=True):
        while not (instance.crash_loop and instance.next_try_at):
            await instance.changed()
        assert instance.restart_count == 4
        assert instance.state == "crashed"
        assert instance.next_try_at is not None
        assert "exit status 5; failed 5 times" in (instance.reason or "")
        with pytest.raises(FormationFailed, match="exit status 5"):
            await instance.wait_healthy()


async def test_unhealthy_is_kept_and_heals(make_spec: MakeSpec) -> None:
    instance = Kept(make_spec("agent.py"))
    async with kept(instance):
        await instance.wait_healthy()
        pid = instance.pid
        await get(instance, "/health-is?503")
        await instance.reach("unhealthy")
        assert (instance.healthy, instance.pid) == (False, pid)
        assert instance.reason == "GET /v1/health: 503"
        await get(instance, "/health-is?200")
        await instance.reach("running")
        assert (instance.healthy, instance.pid) == (True, pid)


async def test_one_that_ignores_term_is_killed(make_spec: MakeSpec) -> None:
    instance = Kept(make_spec("agent.py", env={"IGNORE_TERM": "1"}, stop_timeout=0.2))
    async with kept(instance):
        await instance.wait_healthy()
    assert instance.state == "stopped"
    assert instance.last_exit is not None
    assert (instance.last_exit.signal_number, instance.last_exit.clean) == (signal.SIGKILL, True)


@pytest.mark.parametrize("how", ["group", "session"])
@pytest.mark.parametrize("end", ["stop", "cancel", "crash"])
async def test_nothing_of_its_family_outlives_it(
    make_spec: MakeSpec,
    tmp_path: Path,
    eventually: Eventually,
    how: str,
    end: str,
) -> None:
    file = tmp_path / "grandchild"
    instance = Kept(make_spec("family.py", str(file), how, "stay", stop_timeout=0.2))
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(instance.run, restart_on_failed_start=False))
            await eventually(file.exists)
            leader, grandchild = instance.pid, int(file.read_text())
            assert leader is not None
            assert alive(grandchild)
            if end == "stop":
                await instance.stop()
            elif end == "cancel":
                nursery.cancel_scope.cancel()
            else:
                await kill_process(instance)
    assert instance.state == ("crashed" if end == "crash" else "stopped")
    assert not alive(grandchild)
    assert not alive(leader)
    assert instance.pid is None


async def test_output_at_full_speed_costs_the_server_nothing(make_spec: MakeSpec) -> None:
    code = "import sys\nfor _ in range(200_000): print('x' * 99)\nsys.exit(3)"
    instance = Kept(make_spec(code))
    async with kept(instance):
        with pytest.raises(FormationFailed) as caught:
            await instance.wait_healthy()
    assert instance.spec.stdout.stat().st_size == 20_000_000
    assert caught.value.details["log_tail"] == ["stdout: " + "x" * 99] * 20


async def test_port_that_stays_taken_is_told(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    monkeypatch.setattr("muxi.process.means.PORT_TIMEOUT", 0.05)
    instance = Kept(make_spec("import time; time.sleep(600)"))
    async with kept(instance):
        await trio.testing.wait_all_tasks_blocked(0.01)
        (stranger,) = await trio.open_tcp_listeners(port, host="127.0.0.1")
        await instance.stop()
        await stranger.aclose()
    assert instance.state == "stopped"
    assert not instance.port_free
    assert f"port {port}" in (instance.reason or "")


async def test_fifty_starts_and_stops_leave_no_descriptor(
    make_spec: MakeSpec, count_fds: Callable[[], int]
) -> None:
    spec, before = make_spec(("/bin/sleep", "600"), health=NO_CHECK), children()
    counts = []
    for _ in range(51):
        instance = Kept(spec)
        async with kept(instance):
            await instance.wait_healthy()
        counts.append(count_fds())
    assert counts[-1] == counts[0]
    assert children() <= before  # no zombie either


async def test_no_secret_in_what_is_logged(make_spec: MakeSpec, capsys: pytest.CaptureFixture[str]) -> None:
    instance = Kept(
        make_spec("raise SystemExit(5)", env={"API_KEY": "canary-value"}), RestartPolicy(max_restarts=1)
    )
    with trio.fail_after(60):
        await instance.run(restart_on_failed_start=False)
    printed = capsys.readouterr()
    assert "process_state" in printed.out + printed.err
    shown = printed.out + printed.err + repr(instance.spec) + json.dumps(str(vars(instance)))
    assert "canary-value" not in shown
