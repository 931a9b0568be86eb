"""A play with one instance: its processes do as the test says, and its checks see what it says."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from muxi.errors import OperatorError
from muxi.process.health import HealthCheck, Liveness, Readiness, StartUp
from muxi.process.instance import Instance
from muxi.process.means import Means
from muxi.process.probe import ProbeResult
from muxi.process.pulse import Activity
from muxi.process.spec import ExitReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muxi.process.identity import Identity
    from muxi.process.restart import RestartPolicy
    from muxi.process.spec import ProcessSpec
    from muxi.process.usage import Usage

GOOD = ProbeResult(True, "GET /v1/health: 200")
BAD = ProbeResult(False, "GET /v1/health: 503")
SILENT = ProbeResult(False, "GET /v1/health: no answer within 5 s", answered=False)
HEALTH = HealthCheck(
    start_up=StartUp(interval=1.0, timeout=5.0, budget=60.0),
    readiness=Readiness(interval=30.0, timeout=5.0, threshold=3),
    liveness=Liveness(threshold=3, grace=60.0),
)


@dataclass
class PlayedProcess:
    """A process that does as the test says."""

    pid: int
    stubborn: bool = False
    unkillable: bool = False
    started_at: float = 1.0
    identity: Identity | None = None
    status: int | None = None
    ended: trio.Event = field(default_factory=trio.Event)
    seen: list[str] = field(default_factory=list)
    adopted: bool = False
    owns: bool | None = True
    cpu: float = 0.0
    container_id: str = ""
    usage: Usage | None = None

    def exit(self, status: int) -> None:
        self.status = status
        self.ended.set()

    async def wait(self) -> None:
        await self.ended.wait()

    async def listens(self, _host: str, _port: int) -> bool | None:
        await trio.lowlevel.checkpoint()
        return self.owns

    async def cpu_seconds(self) -> float:
        await trio.lowlevel.checkpoint()
        return self.cpu

    def let_go(self) -> None:
        self.seen.append("let go")

    async def ask_to_end(self) -> None:
        self.seen.append("asked")
        if not self.stubborn:
            await trio.sleep(1)
            self.exit(0)
        await self.ended.wait()

    async def end(self, *, expected: bool) -> ExitReport:
        await trio.lowlevel.checkpoint()
        if self.unkillable:
            raise OperatorError(f"Process {self.pid} does not end.", code="StopError")
        self.seen.append("ended")
        signal_number = None if self.status is not None else 9
        return ExitReport(self.status, signal_number, expected, at=1.0)

    async def log_tail(self) -> list[str]:
        return ["stderr: last words"]


class Stage:
    """An instance under test, its processes in order, and all states that it told of."""

    def __init__(self, spec: ProcessSpec, policy: RestartPolicy, restart_count: int = 0) -> None:
        self.processes: list[PlayedProcess] = []
        self.spawned_at: list[float] = []
        self.crashed_at: list[float] = []
        self.probed_at: list[float] = []
        self.attempts: list[tuple[int, int, str]] = []
        self.told: list[str] = []
        self.asked: list[tuple[str, ...]] = []
        self.probes: deque[ProbeResult] = deque()  # then `answer` for ever
        self.answer = self.alive = GOOD
        self.spawn_error: Exception | None = None
        self.stubborn = self.unkillable = False  # how the next process is
        self.owns: bool | None = True  # whether its listener is its own
        self.activity = Activity()
        self.spread = 0.5
        self.instance = Instance(
            spec,
            policy,
            on_change=self.note,
            restart_count=restart_count,
            means=Means(
                launch=self.launch,
                check=self.check,
                activity=lambda: self.activity,
                on_attempt=lambda *attempt: self.attempts.append(attempt),
                spread=lambda: self.spread,
            ),
        )

    def note(self, instance: Instance) -> None:
        if not self.told or self.told[-1] != instance.state:
            self.told.append(str(instance.state))
            if instance.state == "crashed":
                self.crashed_at.append(trio.current_time())

    async def launch(self, _spec: ProcessSpec) -> PlayedProcess:
        await trio.lowlevel.checkpoint()
        self.spawned_at.append(trio.current_time())
        if self.spawn_error is not None:
            raise self.spawn_error
        pid = 1000 + len(self.processes)
        self.processes.append(PlayedProcess(pid, self.stubborn, self.unkillable, owns=self.owns))
        return self.processes[-1]

    async def check(self, _host: str, _port: int, paths: Sequence[str], _timeout: float) -> ProbeResult:
        await trio.lowlevel.checkpoint()
        self.asked.append(tuple(paths))
        if paths == ("/alive",):
            return self.alive
        self.probed_at.append(trio.current_time())
        return self.probes.popleft() if self.probes else self.answer

    @property
    def process(self) -> PlayedProcess:
        return self.processes[-1]

    @property
    def pauses(self) -> list[float]:
        """Seconds from each crash to the next spawn."""
        return [round(b - a, 3) for a, b in zip(self.crashed_at, self.spawned_at[1:], strict=False)]
