"""How much memory there is, and how much a process group holds (proc(5)). Blocks; Linux only."""

from __future__ import annotations

import os

from muxi.process import procfs

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def available() -> int | None:
    """Return the bytes that new programs can have without swapping; None where nobody says."""
    try:
        text = (procfs.PROC / "meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None


def resident(group: int) -> int:
    """Return the bytes that the processes of a group hold in memory, shared ones counted each time."""
    return sum(_resident(pid) for pid in procfs.pids() if _group(pid) == group)


def held_by(pid: int) -> int:
    """Return the bytes that one process holds in memory; 0 where nobody says."""
    return _resident(pid)


def _group(pid: int) -> int | None:
    stat = procfs.read_stat(pid)
    return stat.group if stat is not None and stat.alive else None


def _resident(pid: int) -> int:
    try:
        fields = (procfs.PROC / str(pid) / "statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return int(fields[1]) * _PAGE
