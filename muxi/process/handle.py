"""What an instance needs of a running process, however that came to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from muxi.process.identity import Identity
    from muxi.process.spec import ExitReport
    from muxi.process.usage import Usage


class Handle(Protocol):
    """A running process, with all that came of it. Used by one task.

    `started_at` is Unix time in seconds.
    """

    @property
    def pid(self) -> int: ...
    @property
    def started_at(self) -> float: ...
    @property
    def identity(self) -> Identity | None: ...

    @property
    def container_id(self) -> str:
        """What the engine calls it that keeps it for us; "" for a process of this machine."""

    @property
    def usage(self) -> Usage | None:
        """What it was last seen to use, where the meter (`muxi.process.meter`) does not see it."""

    @property
    def adopted(self) -> bool:
        """Whether an earlier run of the server started it."""

    async def wait(self) -> None:
        """Return when the process has ended."""

    async def listens(self, host: str, port: int) -> bool | None:
        """Say whether what listens there is its, or its descendants'; None when it can't be told."""

    async def cpu_seconds(self) -> float:
        """Return the CPU time used so far by it and its living descendants."""

    async def ask_to_end(self) -> None:
        """Ask it and its descendants to end; return when they have. The caller sets a deadline."""

    async def end(self, *, expected: bool) -> ExitReport:
        """Leave nothing of it, and say how it ended. Bounded in time.

        Raises OperatorError when it can't be killed.
        """

    def let_go(self) -> None:
        """Hold it no longer, and leave it as it is: the next run of the server goes on with it."""

    async def log_tail(self) -> list[str]:
        """Return the last lines of its output, each marked with its stream: "stderr: ..."."""
