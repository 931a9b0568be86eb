"""Holding processes within their limits, and knowing which ones we supervise.

A limit is put on a process from outside, right after its exec: nothing of ours runs between fork
and exec, since the fork could not be a cheap vfork(2) then, and there is no launcher that would
have to be shipped. In that moment (a tenth of a millisecond, ten when the kernel has to wait for
all processors) the process may have forked already; so its children are looked for after it has
been moved, and theirs, until there is nobody left outside. What escapes is a descendant
that in this moment has been forked *and* has lost its parent: it is in no group, but is still
known by its token, and is measured and killed with the rest.

Where groups are not to be had: open files are an rlimit of each process in any case; memory is
watched (`muxi.process.meter`); for processor time and the number of processes there is no
substitute. RLIMIT_NPROC counts all processes of a *user*, so that one formation's limit would be
all formations'; RLIMIT_AS counts addresses, not memory (Node.js and CUDA reserve many gigabytes);
RLIMIT_RSS has had no effect since Linux 2.4.30.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from muxi.process import procfs, rlimits
from muxi.process.cgroups import Groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from muxi.process.cgroups import Group
    from muxi.process.limits import Limits
    from muxi.process.spec import ExitReport, ProcessSpec
    from muxi.process.usage import Usage

log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class Confinement:
    """One process with its limits, from its start to its reaping. Changed on the event loop only.

    placed          it is in its group, with all that came of it
    adopted         an earlier server has started it: it may be no child of ours, and once it has ended
                    its pid may be another's
    over_memory     our watch has killed it for its memory
    soft_told       that it is past its soft limit has been told
    kills_seen      how many of its processes were killed for want of memory, at the last look
    kills_told      how many of those have been told of as mere helpers
    usage           the latest measurement
    """

    process_id: str
    pid: int
    token_sha256: str
    limits: Limits
    group: Group | None
    confiner: Confiner = field(repr=False)
    placed: bool = False
    adopted: bool = False
    over_memory: bool = False
    soft_told: bool = False
    kills_seen: int = 0
    kills_told: int = 0
    usage: Usage | None = None
    closed: bool = False

    @property
    def watched(self) -> bool:
        """Whether nobody but our own watch holds it to its memory."""
        grouped = self.placed and self.group is not None and self.group.holds("memory")
        return bool(self.limits.memory) and not grouped

    @property
    def to_be_placed(self) -> bool:
        return self.group is not None or bool(self.limits.open_files)

    def place(self) -> None:
        """Put the process, and what it has forked already, in its group and under its rlimits (blocking)."""
        try:
            for pid in _family(self.pid):
                rlimits.limit_open_files(pid, self.limits.open_files)
                if self.group is not None:
                    with suppress(ProcessLookupError):  # it has ended
                        self.group.join(pid)
            self.placed = True
        except OSError as error:
            why = error.strerror or str(error)
            log.warning("limits not in force", process=self.process_id, pid=self.pid, error=why)

    def provable(self) -> bool:
        """Say whether its pid is still its own: certain of a child not yet reaped, else by its token."""
        return not self.adopted or procfs.token_sha256(self.pid) == self.token_sha256

    def members(self) -> set[int]:
        """Return who is in its group, if it has one."""
        return set() if self.group is None else self.group.processes()

    def kill(self) -> None:
        """Kill its group at one blow, where there is one that can."""
        if self.group is not None:
            self.group.kill()

    def explain(self, report: ExitReport) -> ExitReport:
        """Say of an exit whether it was for want of memory.

        That is so when it was killed, or says that its own child was (137: a shell's or launcher's
        way to tell), after a kill that is not known to have hit a mere helper.
        """
        killed = report.signal_number == signal.SIGKILL or report.status == 128 + signal.SIGKILL
        kills = 0 if self.group is None else self.group.oom_kills()
        if self.over_memory or (killed and kills > self.kills_told and not report.expected):
            return replace(report, oom=True, memory_limit=self.limits.memory)
        return report

    def close(self) -> None:
        """Let go of it after it has been reaped."""
        if not self.closed:
            self.closed = True
            self.confiner.leave(self)


class Confiner:
    """What limits can be put on processes here, and all processes that are supervised now.

    The composition makes one; it is passed to whoever starts, measures or reaps.
    """

    def __init__(self, groups: Groups | None = None) -> None:
        """Use these control groups, which have been tried (`muxi.process.cgroup_trial`)."""
        self.groups = groups or Groups()
        self._supervised: dict[int, Confinement] = {}
        self._expected: set[int] = set()

    def __contains__(self, pid: object) -> bool:
        """Say whether this process is supervised: reaped by its owner alone."""
        return pid in self._supervised or pid in self._expected

    def __iter__(self) -> Iterator[Confinement]:
        return iter(tuple(self._supervised.values()))

    def usage(self, pid: int | None) -> Usage | None:
        """Return what was measured last of a process and all that came of it, None before the first time."""
        found = None if pid is None else self._supervised.get(pid)
        return None if found is None else found.usage

    def prepare(self, spec: ProcessSpec, token_sha256: str) -> Group | None:
        """Make the group of a process that is about to be started (blocking)."""
        missing = _not_held(spec.limits, self.in_force())
        if missing:
            log.warning("limits not in force here", process=spec.process_id, limits=missing)
        try:
            return self.groups.make(group_name(spec.process_id, token_sha256), spec.limits)
        except OSError as error:
            log.warning("no group for a process", process=spec.process_id, error=error.strerror or str(error))
            return None

    def enter(self, spec: ProcessSpec, pid: int, token_sha256: str, group: Group | None) -> Confinement:
        """Know a process just started, without a checkpoint in between; `place` it next."""
        confinement = Confinement(spec.process_id, pid, token_sha256, spec.limits, group, self)
        self._supervised[pid] = confinement
        return confinement

    def expect(self, pid: int) -> None:
        """Keep a child of ours from being reaped as an orphan until it is adopted, or not (`dismiss`).

        After an exec our children are there still, but not yet known to the new program.
        """
        self._expected.add(pid)

    def dismiss(self, pid: int) -> None:
        """Expect a process no longer."""
        self._expected.discard(pid)

    def adopt(self, spec: ProcessSpec, pid: int, token_sha256: str) -> Confinement:
        """Know a process that an earlier server started.

        This reads one file of /proc, which never waits.
        """
        group = self.groups.find(pid, group_name(spec.process_id, token_sha256))
        confinement = self.enter(spec, pid, token_sha256, group)
        confinement.placed = confinement.adopted = True
        self.dismiss(pid)
        return confinement

    def discard(self, group: Group | None) -> None:
        """Remove a group whose process could not be started."""
        if group is not None:
            self.groups.drop(group)

    def leave(self, confinement: Confinement) -> None:
        with suppress(KeyError):
            del self._supervised[confinement.pid]
        self.discard(confinement.group)

    def in_force(self) -> Mapping[str, str]:
        """Say by which means each resource is limited: "none" means that it is not."""
        if os.name == "nt":
            return dict.fromkeys(("memory", "cpu", "processes"), "job") | {"open_files": "none", "note": ""}
        watch = "watch" if procfs.available() else "none"
        return {
            "memory": self._by_group("memory") or watch,
            "cpu": self._by_group("cpu") or "none",
            "processes": self._by_group("pids") or "none",
            "open_files": "rlimit" if rlimits.AVAILABLE else "none",
            "note": self.groups.note,
        }

    def _by_group(self, controller: str) -> str | None:
        version = self.groups.version_of(controller)
        return None if version is None else f"cgroup v{version}"


def _not_held(limits: Limits, in_force: Mapping[str, str]) -> str:
    wanted = ("memory", "cpu", "processes", "open_files")
    return ", ".join(name for name in wanted if getattr(limits, name) and in_force[name] == "none")


def group_name(process_id: str, token_sha256: str) -> str:
    """Name a process's group so that the next server finds it again, and the token stays secret."""
    return f"{process_id}-{token_sha256[:16]}"


def _family(pid: int) -> Iterator[int]:
    """Yield a process and its descendants; each one's children are asked for after it was handled."""
    waiting, seen = [pid], {pid}
    while waiting:
        one = waiting.pop()
        yield one
        fresh = [child for child in procfs.children(one) if child not in seen]
        seen.update(fresh)
        waiting.extend(fresh)
