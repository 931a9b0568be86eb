"""The Windows path, run with another kernel in its place: what is asked of it, in which order."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from muxi.errors import OperatorError
from muxi.process import windows
from muxi.process.confinement import Confiner
from muxi.process.limits import Limits
from muxi.process.newborn import Newborn
from muxi.process.spawn import spawn
from muxi.process.windows import WindowsSystem
from muxi.process.windows_kernel import (
    BasicLimits,
    CpuRate,
    ExtendedLimits,
    WindowsKernel,
    cpu_rate,
    extended_limits,
)

if TYPE_CHECKING:
    from muxi.process.handle import Handle
    from tests.process.conftest import MakeSpec

LIMITS = Limits(memory=512 * 1024**2, cpu=0.5, processes=20)


class FakePopen:
    """A process that has been created, and ends when `Fakes` says so."""

    pid = 4711
    _handle = 77

    def __init__(self, fakes: Fakes) -> None:
        self._fakes = fakes

    def kill(self) -> None:
        self._fakes.calls.append("kill")
        self._fakes.die(1)

    def wait(self, timeout: float | None = None) -> int | None:
        return self._fakes.status

    def poll(self) -> int | None:
        return self._fakes.status


class Fakes:
    """A kernel that notes what it was asked, and one process in it."""

    def __init__(self, *, refuse: str = "", console: bool = True, killable: bool = True) -> None:
        self.calls: list[str] = []
        self.arguments: dict[str, Any] = {}
        self.status: int | None = None
        self.gone = trio.Event()
        self._refuse, self._console, self._killable = refuse, console, killable

    def create_job(self, name: str) -> int:
        self.arguments["job name"] = name
        return self._did("create_job", 55)

    def limit_job(self, job: int, limits: Limits, processors: int) -> None:
        self.arguments["limits"] = limits
        self._did(f"limit_job {job}")

    def assign(self, job: int, process: int) -> None:
        self._did(f"assign {job} {process}")

    def resume(self, process: int) -> None:
        self._did(f"resume {process}")

    def terminate_job(self, job: int) -> None:
        self._did(f"terminate_job {job}")
        if self._killable and self.status is None:
            self.die(1)

    def ctrl_break(self, group: int) -> bool:
        self._did(f"ctrl_break {group}")
        return self._console

    def close(self, handle: int) -> None:
        self._did(f"close {handle}")

    def popen(self, argv: tuple[str, ...], **options: object) -> Any:
        self.arguments.update(options)
        self.calls.append("popen")
        return FakePopen(self)

    async def wait_for(self, handle: int) -> None:
        assert handle == FakePopen._handle
        await self.gone.wait()

    def die(self, status: int) -> None:
        self.status = status
        self.gone.set()

    def system(self) -> WindowsSystem:
        return WindowsSystem(self, popen=self.popen, wait_for=self.wait_for)

    def _did(self, call: str, result: int = 0) -> int:
        self.calls.append(call)
        if self._refuse and call.startswith(self._refuse):
            raise OSError(5, "Access is denied")
        return result


async def started(fakes: Fakes, make_spec: MakeSpec) -> Handle:
    return await spawn(make_spec(("agent.exe",), limits=LIMITS), system=fakes.system())


async def test_it_is_in_its_job_before_it_runs(make_spec: MakeSpec) -> None:
    fakes = Fakes()
    child = await started(fakes, make_spec)
    assert fakes.calls == ["popen", "create_job", "limit_job 55", "assign 55 77", "resume 77"]
    assert fakes.arguments["limits"] == LIMITS
    assert fakes.arguments["creationflags"] & windows.CREATE_SUSPENDED
    assert fakes.arguments["creationflags"] & windows.CREATE_NEW_PROCESS_GROUP
    assert fakes.arguments["stdin"] == subprocess.DEVNULL
    token = fakes.arguments["env"]["MUXI_INSTANCE_TOKEN"]
    assert token not in fakes.arguments["job name"]
    assert (child.pid, child.identity) == (4711, None)


@pytest.mark.parametrize("refused", ["create_job", "limit_job", "assign", "resume"])
async def test_what_can_not_be_held_does_not_run(make_spec: MakeSpec, refused: str) -> None:
    fakes = Fakes(refuse=refused)
    with pytest.raises(OperatorError, match="Access is denied") as caught:
        await started(fakes, make_spec)
    assert (caught.value.code, caught.value.stage) == ("SpawnError", "spawning")
    assert "kill" in fakes.calls
    assert ("close 55" in fakes.calls) == (refused != "create_job")


async def test_asked_to_end_it_ends(make_spec: MakeSpec) -> None:
    fakes = Fakes()
    child = await started(fakes, make_spec)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child.ask_to_end)
        await trio.testing.wait_all_tasks_blocked()
        assert fakes.calls[-1] == "ctrl_break 4711"
        fakes.die(0)
    report = await child.end(expected=True)
    assert (report.status, report.signal_number, report.clean) == (0, None, True)
    assert fakes.calls[-2:] == ["terminate_job 55", "close 55"]
    assert await child.end(expected=True) is report
    assert fakes.calls.count("terminate_job 55") == 1


async def test_without_a_console_it_is_not_waited_for(make_spec: MakeSpec) -> None:
    fakes = Fakes(console=False)
    child = await started(fakes, make_spec)
    with trio.fail_after(30):
        await child.ask_to_end()
        report = await child.end(expected=True)
    assert report.status == windows.KILLED


async def test_its_own_exit_is_seen(make_spec: MakeSpec) -> None:
    fakes = Fakes()
    child = await started(fakes, make_spec)
    fakes.die(0xC0000005)
    await child.wait()
    report = await child.end(expected=False)
    assert (report.status, report.clean) == (0xC0000005, False)


async def test_one_that_can_not_be_killed_is_reported(
    make_spec: MakeSpec, autojump_clock: trio.testing.MockClock
) -> None:
    fakes = Fakes(killable=False)
    system = fakes.system()
    spec = make_spec(("agent.exe",))
    confinement = Confiner().enter(spec, 4711, "token", None)
    child = system.hold(Newborn(system.start(spec, {}, 1, 2), "token", spec, (0, 0), confinement))
    with pytest.raises(OperatorError, match="Process 4711 does not end"):
        await child.end(expected=True)


# The calls themselves


def test_structures_are_as_large_as_the_system_has_them() -> None:
    """On 64 bits; SetInformationJobObject refuses any other length."""
    assert [ctypes.sizeof(one) for one in (BasicLimits, ExtendedLimits, CpuRate)] == [64, 144, 8]
    assert ExtendedLimits.JobMemoryLimit.offset == 120


def test_limits_of_a_job() -> None:
    written = extended_limits(LIMITS)
    assert written.JobMemoryLimit == 512 * 1024**2
    assert written.BasicLimitInformation.ActiveProcessLimit == 20
    assert written.BasicLimitInformation.LimitFlags == 0x208
    assert extended_limits(replace(LIMITS, memory=0, processes=0)).BasicLimitInformation.LimitFlags == 0


@pytest.mark.parametrize(
    ("cores", "processors", "rate"), [(0.5, 4, 1250), (4.0, 4, 10000), (0.00001, 8, 1), (64.0, 2, 10000)]
)
def test_cpu_rate_of_a_job(cores: float, processors: int, rate: int) -> None:
    assert cpu_rate(cores, processors).CpuRate == rate


class FakeLibrary:
    """A library in which every function answers the same, and notes its arguments."""

    def __init__(self, answer: int) -> None:
        self.calls: list[tuple[str, tuple[object, ...]]] = []
        self._answer = answer

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: object) -> int:
            self.calls.append((name, arguments))
            return self._answer

        setattr(self, name, call)
        return call


def test_calls_go_to_the_right_functions() -> None:
    kernel32, ntdll = FakeLibrary(99), FakeLibrary(0)
    kernel = WindowsKernel(kernel32, ntdll)
    assert kernel.create_job("Local\\x") == 99
    kernel.limit_job(99, LIMITS, 4)
    kernel.assign(99, 1)
    kernel.resume(1)
    assert kernel.ctrl_break(1)
    kernel.terminate_job(99)
    kernel.close(99)
    names = [name for name, _ in kernel32.calls]
    assert names == [
        "CreateJobObjectW",
        "SetInformationJobObject",
        "SetInformationJobObject",
        "AssignProcessToJobObject",
        "GenerateConsoleCtrlEvent",
        "TerminateJobObject",
        "CloseHandle",
    ]
    assert [arguments[1] for name, arguments in kernel32.calls if name.startswith("Set")] == [9, 15]
    assert [arguments[3] for name, arguments in kernel32.calls if name.startswith("Set")] == [144, 8]
    assert [name for name, _ in ntdll.calls] == ["NtResumeProcess"]


def test_a_refusal_is_an_error() -> None:
    kernel = WindowsKernel(FakeLibrary(0), FakeLibrary(1))
    for refused in (
        lambda: kernel.create_job("x"),
        lambda: kernel.limit_job(1, LIMITS, 1),
        lambda: kernel.assign(1, 1),
        lambda: kernel.resume(1),
        lambda: kernel.terminate_job(1),
    ):
        with pytest.raises(OSError, match="was refused"):
            refused()
    assert kernel.ctrl_break(1) is False
