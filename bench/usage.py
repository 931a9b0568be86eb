"""What a process and its children have used, as Linux counts it."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """Give a process and all that descend from it."""
    members = [pid]
    for member in members:
        for task in Path(f"/proc/{member}/task").iterdir():
            members += map(int, (task / "children").read_text().split())
    return members


def workers(pid: int) -> list[int]:
    """Give the children of a server of ours that proxy beside it: not its formations."""
    found = (int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [child for child in found if b"\0worker\0" in Path(f"/proc/{child}/cmdline").read_bytes()]


def cpu_seconds(pids: list[int]) -> float:
    """Add up the processor time of the processes, in user and system mode."""
    return sum(_cpu_ticks(pid) for pid in pids) / _TICKS


def resident(pids: list[int]) -> int:
    """Add up the resident memory of the processes, in bytes."""
    return sum(_status(pid, "VmRSS") for pid in pids)


def peak_resident(pids: list[int]) -> int:
    """Add up the most memory each has had since `forget_peak`, in bytes."""
    return sum(_status(pid, "VmHWM") for pid in pids)


def forget_peak(pids: list[int]) -> None:
    """Begin to count the peak anew (proc(5): clear_refs)."""
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) << 10
    return 0
