"""What Linux's control groups look like: where they are, and what is written in them. Pure.

There are two kinds, and a machine may have both at once (cgroups(7)): version 2 is one tree with
all controllers, version 1 a tree for each. A controller is in one of them only, so what is found
for each is simply used. The files' names and formats are those of the kernel's documents
(admin-guide/cgroup-v2, and cgroup-v1/memory, cgroup-v1/pids, scheduler/sched-bwc).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from muxi.process.limits import Limits

CONTROLLERS: Final = ("memory", "cpu", "pids")
PERIOD: Final = 100_000
"""Microseconds in which a share of the processor's time is used up, the kernel's own default."""
_ESCAPE = re.compile(r"\\([0-7]{3})")


class Setting(NamedTuple):
    """A file of a group and what to write in it; one that is not `required` may be missing."""

    file: str
    value: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A tree of groups: its version, where it is mounted, which part of it that is, and our own group.

    `controllers` is what it controls of `CONTROLLERS`; of version 2 that is asked of its files.
    """

    version: int
    mount: Path
    root: str
    own: str
    controllers: frozenset[str] = frozenset()

    def locate(self, group: str) -> Path | None:
        """Return a group's directory; None when it is outside of what is mounted here."""
        try:
            return self.mount / PurePosixPath(group).relative_to(self.root)
        except ValueError:
            return None


def hierarchies(own_groups: str, mounts: str) -> list[Hierarchy]:
    """Read /proc/self/cgroup and /proc/self/mountinfo (proc(5))."""
    own = memberships(own_groups)
    found: dict[frozenset[str], Hierarchy] = {}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in {"cgroup", "cgroup2"}:
            continue
        version = 2 if kind[0] == "cgroup2" else 1
        names = frozenset(kind[2].split(",")) & set(CONTROLLERS) if version == 1 else frozenset()
        group = own.get(next(iter(names), "") if version == 1 else "")
        if group is not None and (names or version == 2):
            found.setdefault(names, Hierarchy(version, Path(_plain(fields[4])), fields[3], group, names))
    return list(found.values())


def memberships(text: str) -> dict[str, str]:
    """Read /proc/<pid>/cgroup: the group in each controller's tree, and under "" that of version 2."""
    found = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if group.startswith("/"):
            found.update(dict.fromkeys(controllers.split(","), group))
    return found


def settings(version: int, controller: str, limits: Limits) -> tuple[Setting, ...]:
    """Return what makes a group keep to limits; nothing where there is none.

    Memory may not be swapped out instead: a formation past its limit is to be started anew, not to
    crawl.
    """
    match version, controller:
        case 2, "memory" if limits.memory:
            amount = str(limits.memory)
            return Setting("memory.max", amount), Setting("memory.swap.max", "0", required=False)
        case 1, "memory" if limits.memory:
            amount = str(limits.memory)
            return (
                Setting("memory.limit_in_bytes", amount),
                Setting("memory.memsw.limit_in_bytes", amount, required=False),
            )
        case 2, "cpu" if limits.cpu:
            return (Setting("cpu.max", f"{_quota(limits.cpu)} {PERIOD}"),)
        case 1, "cpu" if limits.cpu:
            return (
                Setting("cpu.cfs_period_us", str(PERIOD)),
                Setting("cpu.cfs_quota_us", str(_quota(limits.cpu))),
            )
        case _, "pids" if limits.processes:
            return (Setting("pids.max", str(limits.processes)),)
    return ()


def oom_file(version: int) -> str:
    """Return the file that counts the processes killed for want of memory."""
    return "memory.events" if version == 2 else "memory.oom_control"


def oom_kills(text: str) -> int:
    """Read that count; both versions write it as a line `oom_kill 3`. 0 where it is not told."""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.strip().isdecimal():
            return int(value)
    return 0


def _quota(cores: float) -> int:
    return max(1000, round(cores * PERIOD))  # the kernel takes no less than a millisecond


def _plain(path: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), path)
