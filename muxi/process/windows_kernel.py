"""The few calls of the Windows kernel that the standard library lacks: job objects and Ctrl+Break.

Structures and constants are those of the Windows SDK's winnt.h and wincon.h; `NtResumeProcess` is
the one call of ntdll, since `subprocess` closes the thread handle that `ResumeThread` needs.
"""

from __future__ import annotations

import ctypes
from ctypes import c_size_t, c_uint32, c_uint64, c_void_p
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from muxi.process.limits import Limits

CTRL_BREAK_EVENT = 1
BASIC_ACCOUNTING, EXTENDED_LIMITS, CPU_RATE_CONTROL = 1, 9, 15
LIMIT_ACTIVE_PROCESS, LIMIT_JOB_MEMORY = 0x8, 0x200
CPU_RATE_ENABLE, CPU_RATE_HARD_CAP = 0x1, 0x4
CPU_RATE_WHOLE = 10_000
"""The rate that stands for all processors together."""


class BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (
        ("PerProcessUserTimeLimit", c_uint64),
        ("PerJobUserTimeLimit", c_uint64),
        ("LimitFlags", c_uint32),
        ("MinimumWorkingSetSize", c_size_t),
        ("MaximumWorkingSetSize", c_size_t),
        ("ActiveProcessLimit", c_uint32),
        ("Affinity", c_size_t),
        ("PriorityClass", c_uint32),
        ("SchedulingClass", c_uint32),
    )


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION; the six counters are IO_COUNTERS."""

    _fields_ = (
        ("BasicLimitInformation", BasicLimits),
        ("IoInfo", c_uint64 * 6),
        ("ProcessMemoryLimit", c_size_t),
        ("JobMemoryLimit", c_size_t),
        ("PeakProcessMemoryUsed", c_size_t),
        ("PeakJobMemoryUsed", c_size_t),
    )


class CpuRate(ctypes.Structure):
    """JOBOBJECT_CPU_RATE_CONTROL_INFORMATION."""

    _fields_ = (("ControlFlags", c_uint32), ("CpuRate", c_uint32))


def extended_limits(limits: Limits) -> ExtendedLimits:
    """Write limits as a job has them. KILL_ON_JOB_CLOSE is never among them: formations outlive us."""
    written = ExtendedLimits()
    if limits.memory:
        written.BasicLimitInformation.LimitFlags |= LIMIT_JOB_MEMORY
        written.JobMemoryLimit = limits.memory
    if limits.processes:
        written.BasicLimitInformation.LimitFlags |= LIMIT_ACTIVE_PROCESS
        written.BasicLimitInformation.ActiveProcessLimit = limits.processes
    return written


def cpu_rate(cores: float, processors: int) -> CpuRate:
    """Write a share of cores as hundredths of a per cent of all processors, at least one."""
    share = round(CPU_RATE_WHOLE * cores / processors)
    return CpuRate(CPU_RATE_ENABLE | CPU_RATE_HARD_CAP, max(1, min(share, CPU_RATE_WHOLE)))


class WindowsKernel:
    """Kernel objects as numbers. Every method but `ctrl_break` raises OSError when it is refused."""

    def __init__(self, kernel32: Any = None, ntdll: Any = None) -> None:  # noqa: ANN401 - foreign functions
        """Use the system's libraries; others for tests."""
        load = getattr(ctypes, "WinDLL", None)
        self._kernel32 = kernel32 if kernel32 is not None or load is None else load("kernel32")
        self._ntdll = ntdll if ntdll is not None or load is None else load("ntdll")
        self._kernel32.CreateJobObjectW.restype = c_void_p

    def create_job(self, name: str) -> int:
        handle = self._kernel32.CreateJobObjectW(None, name)
        self._check(handle, "CreateJobObject")
        return int(handle)

    def limit_job(self, job: int, limits: Limits, processors: int) -> None:
        self._set(job, EXTENDED_LIMITS, extended_limits(limits))
        if 0 < limits.cpu < processors:
            self._set(job, CPU_RATE_CONTROL, cpu_rate(limits.cpu, processors))

    def assign(self, job: int, process: int) -> None:
        done = self._kernel32.AssignProcessToJobObject(c_void_p(job), c_void_p(process))
        self._check(done, "AssignProcessToJobObject")

    def resume(self, process: int) -> None:
        """Let a process run that was created suspended."""
        status = self._ntdll.NtResumeProcess(c_void_p(process))
        self._check(status == 0, "NtResumeProcess")

    def terminate_job(self, job: int) -> None:
        self._check(self._kernel32.TerminateJobObject(c_void_p(job), 1), "TerminateJobObject")

    def ctrl_break(self, group: int) -> bool:
        """Send Ctrl+Break to a process group; False where we share no console with it."""
        return bool(self._kernel32.GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, group))

    def close(self, handle: int) -> None:
        self._kernel32.CloseHandle(c_void_p(handle))

    def _set(self, job: int, kind: int, value: ctypes.Structure) -> None:
        done = self._kernel32.SetInformationJobObject(
            c_void_p(job), kind, ctypes.byref(value), ctypes.sizeof(value)
        )
        self._check(done, "SetInformationJobObject")

    def _check(self, done: object, call: str) -> None:
        if not done:
            raise OSError(self._kernel32.GetLastError(), f"{call} was refused")
