"""What is needed to run one process, and what is known of how one ended: plain values."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from muxi.config.values import format_size
from muxi.process.health import HealthCheck
from muxi.process.limits import NO_LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from muxi.process.user import User


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """The full specification of a process; a restart uses it whole.

    `env` is the child's entire environment (nothing is inherited) and is kept out of every repr,
    log and registry: it may hold secrets.
    """

    process_id: str
    argv: tuple[str, ...]
    cwd: Path
    host: str
    port: int
    stdout: Path
    stderr: Path
    env: Mapping[str, str] = field(repr=False)
    health: HealthCheck = field(default_factory=HealthCheck)
    stop_timeout: float = 10.0
    """Seconds between TERM and KILL of the process group."""
    token: str = field(default="", repr=False)
    """What marks every process of this specification as ours; "": a new one for each."""
    limits: Limits = NO_LIMITS
    scratch: Path | None = None
    """A directory of its own for temporary files: made before each start, empty, and removed in the end."""
    user: User | None = None
    """Who runs it, in place of us (POSIX)."""
    token_variables: tuple[str, ...] = ()
    """Further variables with the token, for a program that clears the environment of what it starts."""


@dataclass(frozen=True, slots=True)
class ExitReport:
    """How a process ended: `status` (0 to 255) or `signal_number` is set.

    Neither is when nobody can tell: only its parent is told, and that was a server which has died.
    `cause` then says what is known instead. `expected` is true when it ended because we asked it to
    (also when it died of our TERM). `oom`: it was killed for want of memory, by the kernel or by our own
    watch; `memory_limit` is the limit that it was held to, in bytes (0: none of ours). `at` is Unix
    time in seconds.
    """

    status: int | None
    signal_number: int | None
    expected: bool
    at: float
    oom: bool = False
    memory_limit: int = 0
    cause: str = ""

    @property
    def clean(self) -> bool:
        return self.expected or self.status == 0

    def describe(self) -> str:
        """Say it in words: "exit status 3", "killed by SIGSEGV", "ran out of memory (limit 512M)"."""
        if self.oom:
            limit = f" (limit {format_size(self.memory_limit)})" if self.memory_limit else ""
            return f"ran out of memory{limit}"
        if self.signal_number is None:
            unknown = self.cause or "ended, nobody knows how"
            return unknown if self.status is None else f"exit status {self.status}"
        try:
            return f"killed by {signal.Signals(self.signal_number).name}"
        except ValueError:
            return f"killed by signal {self.signal_number}"
