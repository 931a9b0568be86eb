"""Limits in force: on real processes, by real control groups where this machine lets us have them."""

from __future__ import annotations

import os
import resource
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import structlog
import trio

from muxi.process.cgroup_trial import detect
from muxi.process.cgroups import Group, Groups, Place
from muxi.process.confinement import Confiner
from muxi.process.limits import NO_LIMITS, Limits
from muxi.process.procfs import hash_token
from muxi.process.spawn import spawn
from muxi.process.spec import ExitReport
from tests.process.conftest import alive

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.process.conftest import MakeSpec

    Eventually = Callable[[Callable[[], bool]], Awaitable[None]]

M = 1024**2
NOWHERE = Path("/nonexistent/muxi")
KILLED = ExitReport(None, signal.SIGKILL, expected=False, at=0)
SLEEP = "import time; time.sleep(600)"
EAT = "bytearray(400 * 1024 * 1024)"


class Counting(Group):
    """A group that notes who joins, and whose count of kills the test sets."""

    def __init__(self, error: OSError | None = None) -> None:
        super().__init__((Place(2, NOWHERE, frozenset({"memory"})),))
        self.joined: list[int] = []
        self.kills = 0
        self._error = error

    def join(self, pid: int) -> None:
        self.joined.append(pid)
        if self._error is not None:
            raise self._error

    def oom_kills(self) -> int:
        return self.kills


@pytest.fixture
def real() -> Iterator[Confiner]:
    groups = detect(f"test-{os.getpid()}")
    try:
        if groups.version_of("memory") is None or groups.version_of("pids") is None:
            pytest.skip(f"no control groups for us here ({groups.note or 'none is mounted'})")
        yield Confiner(groups)
    finally:
        groups.close()


async def test_open_files_are_limited_without_any_group(make_spec: MakeSpec) -> None:
    child = await spawn(make_spec(SLEEP, limits=Limits(open_files=64)))
    assert resource.prlimit(child.pid, resource.RLIMIT_NOFILE) == (64, 64)
    await child.end(expected=True)


async def test_without_a_limit_they_are_as_many_as_ours(make_spec: MakeSpec) -> None:
    child = await spawn(make_spec(SLEEP))
    assert resource.prlimit(child.pid, resource.RLIMIT_NOFILE) == resource.getrlimit(resource.RLIMIT_NOFILE)
    await child.end(expected=True)


async def test_what_was_forked_in_the_first_moment_is_placed_too(
    make_spec: MakeSpec, eventually: Eventually
) -> None:
    """The process, its child and its grandchild are there before anybody had time to confine them."""
    code = (
        "import os, time\nfor _ in range(2):\n    if os.fork(): break\nelse: print('up', flush=True)\n"
        + SLEEP
    )
    spec = make_spec(code, limits=Limits(open_files=77))
    confiner, group = Confiner(), Counting()
    child = await spawn(replace(spec, limits=NO_LIMITS))
    await eventually(lambda: "up" in spec.stdout.read_text())
    confinement = confiner.enter(spec, child.pid, "token", group)
    confinement.place()
    assert group.joined[0] == child.pid
    assert len(group.joined) == 3
    assert {os.getpgid(pid) for pid in group.joined} == {child.pid}
    assert {resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] for pid in group.joined} == {77}
    await child.end(expected=True)


async def test_one_that_has_ended_is_placed_without_a_word(make_spec: MakeSpec) -> None:
    child = await spawn(make_spec("pass"))
    await child.wait()
    await child.end(expected=False)
    confinement = Confiner().enter(make_spec("pass"), child.pid, "token", Counting(ProcessLookupError()))
    confinement.place()
    assert confinement.placed


def test_a_group_that_can_not_be_joined_leaves_the_watch(make_spec: MakeSpec) -> None:
    spec = make_spec("pass", limits=Limits(memory=M))
    confinement = Confiner().enter(spec, os.getpid(), "token", Counting(OSError(28, "No space left")))
    confinement.place()
    assert confinement.watched
    assert not confinement.placed


@pytest.mark.parametrize(
    ("group", "limits", "watched"),
    [(None, Limits(memory=M), True), (None, Limits(cpu=1.0), False), (Counting(), Limits(memory=M), False)],
)
def test_memory_is_watched_where_nobody_else_does(
    make_spec: MakeSpec, group: Counting | None, limits: Limits, watched: bool
) -> None:
    confinement = Confiner().enter(make_spec("pass", limits=limits), os.getpid(), "token", group)
    confinement.placed = True
    assert confinement.watched is watched


@pytest.mark.parametrize(
    ("report", "kills", "told", "oom"),
    [
        (KILLED, 1, 0, True),
        (KILLED, 0, 0, False),  # by somebody else
        (KILLED, 1, 1, False),  # that one was a helper's
        (KILLED, 2, 1, True),
        (ExitReport(137, None, expected=False, at=0), 1, 0, True),  # a launcher's way to say it
        (ExitReport(1, None, expected=False, at=0), 1, 0, False),
        (replace(KILLED, expected=True), 1, 0, False),
    ],
)
def test_which_exits_are_for_want_of_memory(
    make_spec: MakeSpec, report: ExitReport, kills: int, told: int, oom: bool
) -> None:
    group = Counting()
    confinement = Confiner().enter(make_spec("pass", limits=Limits(memory=64 * M)), 4711, "token", group)
    group.kills, confinement.kills_told = kills, told
    explained = confinement.explain(report)
    assert (explained.oom, explained.memory_limit) == (oom, 64 * M if oom else 0)


def test_what_our_watch_has_killed_ran_out_of_memory(make_spec: MakeSpec) -> None:
    confinement = Confiner().enter(make_spec("pass", limits=Limits(memory=64 * M)), 4711, "token", None)
    confinement.over_memory = True
    assert confinement.explain(KILLED).describe() == "ran out of memory (limit 64M)"


async def test_it_is_supervised_from_its_start_to_its_reaping(make_spec: MakeSpec) -> None:
    confiner = Confiner()
    child = await spawn(make_spec(SLEEP), confiner=confiner)
    assert child.pid in confiner
    assert [one.process_id for one in confiner] == ["agent"]
    await child.end(expected=True)
    assert child.pid not in confiner
    assert list(confiner) == []


def test_one_that_is_expected_is_nobodys_orphan(make_spec: MakeSpec) -> None:
    confiner, spec = Confiner(), make_spec("pass", token="token")
    confiner.expect(4711)
    confiner.expect(4712)
    assert 4711 in confiner
    assert list(confiner) == []
    adopted = confiner.adopt(spec, 4711, hash_token(b"token"))
    confiner.dismiss(4712)
    assert 4712 not in confiner
    adopted.close()
    assert 4711 not in confiner


@pytest.mark.parametrize("argv", [("no-such-program",), ()])
async def test_one_that_can_not_be_started_leaves_no_group(
    make_spec: MakeSpec, real: Confiner, argv: tuple[str, ...]
) -> None:
    with pytest.raises(Exception, match=r"not found|can't be passed"):
        await spawn(make_spec(argv), confiner=real)
    assert list(real) == []
    assert [path for path in real.groups.places[0].directory.iterdir() if path.is_dir()] == []


async def test_over_its_memory_it_says_so(make_spec: MakeSpec, real: Confiner) -> None:
    code = "import resource, time\nwhile resource.getrlimit(7)[0] != 99: time.sleep(0.01)\n" + EAT
    spec = make_spec(code, limits=Limits(memory=64 * M, open_files=99))
    with trio.fail_after(60):
        child = await spawn(spec, confiner=real)
        await child.wait()
        report = await child.end(expected=False)
    assert report.describe() == "ran out of memory (limit 64M)"
    assert [path for path in real.groups.places[0].directory.iterdir() if path.is_dir()] == []


async def test_a_helper_killed_for_its_memory_is_not_the_formations_end(
    make_spec: MakeSpec, real: Confiner, eventually: Eventually
) -> None:
    code = (
        "import subprocess, sys, time\n"
        f"print(subprocess.run([sys.executable, '-I', '-S', '-c', '{EAT}']).returncode, flush=True)\n" + SLEEP
    )
    spec = make_spec(code, limits=Limits(memory=64 * M))
    child = await spawn(spec, confiner=real)
    await eventually(lambda: "-9" in spec.stdout.read_text())
    assert alive(child.pid)
    (confinement,) = real
    assert confinement.group is not None
    assert confinement.group.oom_kills() == 1
    await child.end(expected=True)


async def test_more_processes_than_allowed_are_refused_to_it(make_spec: MakeSpec, real: Confiner) -> None:
    code = (
        "import os, time\n"
        "children = []\n"
        "try:\n"
        "    while len(children) < 50:\n"
        "        pid = os.fork()\n"
        "        if pid == 0: time.sleep(600)\n"
        "        children.append(pid)\n"
        "        time.sleep(0.02)\n"
        "except OSError as error: print(error.errno, len(children), flush=True)\n"
    )
    spec = make_spec(code, limits=Limits(processes=5))
    with trio.fail_after(60):
        child = await spawn(spec, confiner=real)
        await child.wait()
        await child.end(expected=False)
    assert spec.stdout.read_text().split() == ["11", "4"]


async def test_a_share_of_the_processor_is_set(make_spec: MakeSpec, real: Confiner) -> None:
    child = await spawn(make_spec(SLEEP, limits=Limits(cpu=0.25)), confiner=real)
    (confinement,) = real
    assert confinement.group is not None
    cpu = next(place for place in confinement.group.places if "cpu" in place.controllers)
    file = "cpu.max" if cpu.version == 2 else "cpu.cfs_quota_us"
    assert (cpu.directory / file).read_text().split()[0] == "25000"
    await child.end(expected=True)


async def test_a_stray_without_group_session_or_token_goes_with_the_rest(
    make_spec: MakeSpec, real: Confiner, eventually: Eventually
) -> None:
    """What has shed everything else by which we know our own is still in the control group."""
    code = (
        "import os, sys, time\n"
        "while not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        print(os.getpid(), flush=True)\n"
        "        os.execve('/bin/sleep', ['sleep', '600'], {})\n"
        "    os._exit(0)\n" + SLEEP
    )
    spec = make_spec(code, str(make_spec("").cwd / "go"))
    child = await spawn(spec, confiner=real)
    (spec.cwd / "go").write_text("")
    await eventually(lambda: bool(spec.stdout.read_text().strip()))
    stray = int(spec.stdout.read_text())
    await eventually(lambda: "sleep" in _command_line(stray))
    with trio.fail_after(30):
        await child.end(expected=True)
    assert not alive(stray)


def _command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")


async def test_an_adopted_process_is_in_its_group_again(make_spec: MakeSpec, real: Confiner) -> None:
    spec = make_spec(SLEEP, limits=Limits(memory=64 * M), token="0123456789abcdef")
    child = await spawn(spec, confiner=real)
    later = Confiner(Groups(real.groups.places, "", real.groups.trees))
    digest = hash_token(spec.token.encode())
    confinement = later.adopt(spec, child.pid, digest)
    assert child.pid in later
    assert child.pid in confinement.members()
    assert not confinement.watched
    await child.end(expected=True)


@pytest.mark.parametrize(
    ("limits", "missing"),
    [
        (Limits(memory=M, open_files=64), None),
        (Limits(cpu=1.0, processes=9), "cpu, processes"),
    ],
)
def test_a_limit_that_nothing_holds_is_told(make_spec: MakeSpec, limits: Limits, missing: str | None) -> None:
    with structlog.testing.capture_logs() as logs:
        assert Confiner().prepare(make_spec("pass", limits=limits), "token") is None
    assert [entry["limits"] for entry in logs] == ([missing] if missing else [])


def test_on_windows_a_job_holds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muxi.process.confinement.os", SimpleNamespace(name="nt"))
    assert Confiner().in_force() == {
        "memory": "job",
        "cpu": "job",
        "processes": "job",
        "open_files": "none",
        "note": "",
    }


def test_what_is_in_force_is_told_in_words() -> None:
    assert Confiner().in_force() == {
        "memory": "watch",
        "cpu": "none",
        "processes": "none",
        "open_files": "rlimit",
        "note": "",
    }
    groups = Groups((Place(2, NOWHERE, frozenset({"memory", "pids"})),), "cpu: not there")
    assert Confiner(groups).in_force() == {
        "memory": "cgroup v2",
        "cpu": "none",
        "processes": "cgroup v2",
        "open_files": "rlimit",
        "note": "cpu: not there",
    }
