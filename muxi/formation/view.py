"""What is told of a formation to those who ask: a snapshot, without secrets, without I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.process.spec import ExitReport
    from muxi.process.usage import Usage
    from muxi.registry.traffic import TrafficView
    from muxi.runtime.pin import Pin


@dataclass(frozen=True, slots=True)
class VersionView:
    """`semantic` is the manifest's version; `current` and `previous` are bundles' SHA-256 in hex."""

    semantic: str
    current: str
    previous: str | None = None


@dataclass(frozen=True, slots=True)
class DrainView:
    """How far a drain is: the requests under way, streams and tunnels among them, and whole seconds."""

    in_flight: int
    streams: int
    tunnels: int
    seconds_left: int


@dataclass(frozen=True, slots=True)
class FormationView:
    """One formation as it stands now.

    Times are Unix seconds. `uptime` is whole seconds since the process was started, 0 unless it
    runs. `healthy` is None while that is not known yet. `reason` says in words why it is in this
    state when that is not plain; `next_try_at` is when a crashed one will be started again; `drain`
    is None unless requests are being waited for before its process is ended. `traffic` is what has
    been counted of its requests since the server's start; `usage` what its processes were last seen
    to use. `crash_loop`: it fails again and again, and is tried slowly. `adopted`: an earlier run of
    the server started its process. `runtime` is what it runs on, and why; None while nobody knows.
    """

    id: str
    name: str
    status: str
    port: int | None
    pid: int | None
    uptime: int
    restart_count: int
    healthy: bool | None
    version: VersionView | None
    created_at: float
    deployed_at: float
    updated_at: float
    since: float
    reason: str | None = None
    next_try_at: float | None = None
    last_exit: ExitReport | None = None
    operation_id: str | None = None
    drain: DrainView | None = None
    traffic: TrafficView | None = None
    usage: Usage | None = None
    crash_loop: bool = False
    depends_on: tuple[str, ...] = ()
    adopted: bool = False
    runtime: Pin | None = None


@dataclass(frozen=True, slots=True)
class DevView:
    """A directory that runs as it is, as it stands now; see `FormationView`.

    `watch`: it is restarted when a file changes.
    """

    id: str
    name: str
    directory: Path
    watch: bool
    status: str
    port: int
    pid: int | None
    uptime: int
    restart_count: int
    healthy: bool | None
    since: float
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class LogFiles:
    """The files that a formation's process writes its output to; they may not exist yet."""

    stdout: Path
    stderr: Path


@dataclass(frozen=True, slots=True)
class Counts:
    """How many formations there are, and in which states."""

    total: int
    running: int
    stopped: int
    crashed: int
    healthy: int


@dataclass(frozen=True, slots=True)
class PortUsage:
    """The port range `[start, end)` and how much of it is taken."""

    start: int
    end: int
    allocated: int

    @property
    def total(self) -> int:
        return self.end - self.start

    @property
    def available(self) -> int:
        return self.total - self.allocated
