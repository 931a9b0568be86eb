"""How this program came to serve, and what has become of what was asked of it by signals."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import structlog
import trio

from muxi import __version__
from muxi.errors import ConfigError
from muxi.registry.outcome import Outcome, write_outcome
from muxi.timestamps import rfc3339

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.errors import MuxiError
    from muxi.server.inheritance import Handover

log = structlog.get_logger()


@dataclass(slots=True)
class History:
    """The start of this program and of the first one of this process, in Unix seconds.

    `generation` is 1 for the first program, and one more for each that took another's place.
    """

    data_dir: Path
    generation: int = 1
    serial: int = 0
    started_at: float = field(default_factory=time.time)
    first_started_at: float = 0.0
    last: Outcome | None = None

    @classmethod
    def after(cls, handover: Handover | None, data_dir: Path) -> History:
        """Begin a history, or go on with that of the program before this one."""
        if handover is None:
            return cls(data_dir)
        return cls(
            data_dir,
            generation=handover.generation + 1,
            serial=handover.serial,
            first_started_at=handover.first_started_at,
        )

    def status(self) -> dict[str, object]:
        """Tell it for the status page."""
        found: dict[str, object] = {
            "pid": os.getpid(),
            "started_at": rfc3339(self.started_at),
            "first_started_at": rfc3339(self.first_started_at or self.started_at),
            "generation": self.generation,
        }
        if self.last is not None and self.last.kind != "start":
            found[f"last_{self.last.kind}"] = {
                "at": rfc3339(self.last.at),
                "ok": self.last.ok,
                "changed": list(self.last.changed),
                "pending": list(self.last.pending),
                "problems": list(self.last.problems),
            }
        return found

    async def started(self) -> None:
        """Record that this program serves; the first time after it took another's place, that it did."""
        replaced = self.generation > 1 and self.last is None
        await self._record("upgrade" if replaced else "start", ok=True)

    async def reloaded(self, changed: tuple[str, ...], pending: tuple[str, ...]) -> None:
        await self._record("reload", ok=True, changed=changed, pending=pending)

    async def refused(self, kind: Literal["reload", "upgrade"], error: MuxiError) -> None:
        """Record that nothing was done, and why."""
        problems = error.problems if isinstance(error, ConfigError) else ()
        log.error(
            f"{kind} refused, nothing has changed",
            reason=error.message,
            problems=list(problems),
            cure=error.cure,
        )
        await self._record(kind, ok=False, problems=(error.message, *problems), cure=error.cure or "")

    async def _record(
        self,
        kind: Literal["start", "reload", "upgrade"],
        *,
        ok: bool,
        changed: tuple[str, ...] = (),
        pending: tuple[str, ...] = (),
        problems: tuple[str, ...] = (),
        cure: str = "",
    ) -> None:
        if kind != "start":
            self.serial += 1
        self.last = Outcome(
            pid=os.getpid(),
            serial=self.serial,
            kind=kind,
            ok=ok,
            at=time.time(),
            version=__version__,
            generation=self.generation,
            changed=changed,
            pending=pending,
            problems=problems,
            cure=cure,
        )
        try:
            await trio.to_thread.run_sync(write_outcome, self.data_dir, self.last)
        except OSError as error:
            log.warning("outcome not written", kind=kind, error=error.strerror)
