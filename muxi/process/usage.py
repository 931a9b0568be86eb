"""What processes use: one walk over /proc for all formations at once.

Whose a process is, is known by what we know our own by (`muxi.process.tree`): its process group or
session, which its formation's first process leads; else a parent that is known; else the token in
its environment. The last one costs most, and can't change, so the answer is kept until the
process is gone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from muxi.process import procfs

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Usage:
    """What a formation's living processes use together.

    `memory` is their resident memory in bytes, where what several share is counted in each.
    `cpu_seconds` is processor time since their start, with that of children they have waited for:
    it may go back when a child is lost. `open_files` is None where we may not look. `at` is Unix
    time in seconds.
    """

    processes: int
    threads: int
    memory: int
    cpu_seconds: float
    open_files: int | None
    at: float


class Sample(NamedTuple):
    """A process as /proc/<pid>/stat has it: times in clock ticks, memory in pages."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    ticks: int
    threads: int
    start_ticks: int
    pages: int

    @property
    def living(self) -> bool:
        """False for a zombie and for one that is just vanishing."""
        return self.state not in "ZXx"


class Root(NamedTuple):
    """What the processes of one formation are known by: the first one's pid, and the token's hash."""

    pid: int
    token_sha256: str


TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def parse_stat(pid: int, content: bytes) -> Sample:
    """Read /proc/<pid>/stat (proc_pid_stat(5)); numbers count from its third field."""
    fields = content.rpartition(b")")[2].split()
    return Sample(
        pid=pid,
        state=fields[0].decode(),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        ticks=int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14]),
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
        pages=int(fields[21]),
    )


def add_up(samples: Collection[Sample], open_files: int | None, at: float) -> Usage:
    """Make one formation's usage of its living processes."""
    return Usage(
        processes=len(samples),
        threads=sum(sample.threads for sample in samples),
        memory=sum(sample.pages for sample in samples) * PAGE,
        cpu_seconds=round(sum(sample.ticks for sample in samples) / TICKS, 2),
        open_files=open_files,
        at=at,
    )


class Walk:
    """Walks over all processes of the machine again and again. Used by one thread at a time."""

    def __init__(self) -> None:
        self._tokens: dict[tuple[int, int], str | None] = {}

    def measure(self, roots: Collection[Root], now: float) -> dict[int, Usage]:
        """Return the usage of each root's processes, by the root's pid (blocking)."""
        families: dict[int, list[Sample]] = {root.pid: [] for root in roots}
        samples = _all_samples()
        owners = self._owners(samples, families, {root.token_sha256: root.pid for root in roots})
        for pid, owner in owners.items():
            if owner and samples[pid].living:
                families[owner].append(samples[pid])
        return {pid: add_up(family, _open_files(family), now) for pid, family in families.items() if family}

    def _owners(
        self, samples: Mapping[int, Sample], roots: Container[int], by_token: Mapping[str, int]
    ) -> dict[int, int]:
        """Say for each process which root it belongs to; 0 for a stranger."""
        owners: dict[int, int] = {}
        before, self._tokens = self._tokens, {}
        for start in samples:
            pid, line = start, []
            while pid in samples and pid not in owners:
                line.append(pid)
                owners[pid] = self._known_by_itself(samples[pid], roots, by_token, before)
                if owners[pid]:
                    break
                pid = samples[pid].parent
            found = owners.get(pid, 0)
            owners.update((member, found) for member in line)
        return owners

    def _known_by_itself(
        self,
        sample: Sample,
        roots: Container[int],
        by_token: Mapping[str, int],
        before: Mapping[tuple[int, int], str | None],
    ) -> int:
        for leader in (sample.group, sample.session):
            if leader in roots:
                return leader
        key = sample.pid, sample.start_ticks
        token = before[key] if key in before else procfs.token_sha256(sample.pid)
        self._tokens[key] = token
        return by_token.get(token or "", 0)


def _all_samples() -> dict[int, Sample]:
    found = {}
    for pid in procfs.pids():
        content = procfs.raw_stat(pid)
        if content is not None:
            found[pid] = parse_stat(pid, content)
    return found


def _open_files(family: Iterable[Sample]) -> int | None:
    try:
        return sum(procfs.count_open_files(sample.pid) for sample in family)
    except OSError:
        return None
