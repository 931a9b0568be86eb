"""A process that an earlier run of the server started, and this one goes on with.

After an upgrade by exec it is our child still, and how it ends is told to us. After a crash of
the server it is not: its end is seen all the same (pidfd_open(2) asks for no kinship), but how it
ended is told to its parent, the system, alone.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import trio

from muxi.process import exits, failure, listeners, procfs, scratch, tree
from muxi.process.confinement import Confiner
from muxi.process.identity import KILL_TIMEOUT, Identity, still_ours
from muxi.process.spec import ExitReport

if TYPE_CHECKING:
    from muxi.process.confinement import Confinement
    from muxi.process.procfs import Stat
    from muxi.process.spec import ProcessSpec


def adopt(
    identity: Identity, started_at: float, spec: ProcessSpec, confiner: Confiner | None = None
) -> Adopted | None:
    """Take over a process, None unless it is proved to be the very one, and alive.

    The descriptor is opened before the proof, so nothing can take its place in between.
    """
    pidfd = exits.open_pidfd(identity.pid)
    if pidfd is None:
        return None
    if still_ours(identity):
        confinement = (confiner or Confiner()).adopt(spec, identity.pid, identity.token_sha256)
        return Adopted(identity, pidfd, started_at, spec, confinement)
    os.close(pidfd)
    return None


class Adopted:
    """See `Handle` for the contract. Made by `adopt` only."""

    adopted = True
    container_id = ""
    usage = None

    def __init__(
        self,
        identity: Identity,
        pidfd: int,
        started_at: float,
        spec: ProcessSpec,
        confinement: Confinement,
    ) -> None:
        """Take over the descriptor; the confinement is closed when the process is gone."""
        self.pid = identity.pid
        self.identity: Identity | None = identity
        self._start_ticks = identity.start_ticks
        self.started_at = started_at
        self._token_sha256 = identity.token_sha256
        self._spec = spec
        self._pidfd: int | None = pidfd
        self._confinement = confinement
        self._family = tree.Family()
        self._report: ExitReport | None = None

    async def wait(self) -> None:
        if self._pidfd is not None:
            await trio.lowlevel.wait_readable(self._pidfd)

    async def listens(self, host: str, port: int) -> bool | None:
        return await trio.to_thread.run_sync(listeners.belong_to, self.pid, self._token_sha256, host, port)

    async def cpu_seconds(self) -> float:
        return await trio.to_thread.run_sync(tree.cpu_seconds, self._group, self._token_sha256)

    async def ask_to_end(self) -> None:
        await self._tell(signal.SIGTERM)
        await self.wait()
        await self._family.gone()
        await self._dismiss(signal.SIGTERM)

    async def end(self, *, expected: bool) -> ExitReport:
        if self._report is None:
            await self._tell(signal.SIGKILL)
            with trio.move_on_after(KILL_TIMEOUT):
                await self.wait()
                self._confinement.kill()
                await self._family.gone()
                await self._dismiss(signal.SIGKILL)
            stat = self._stat()
            if stat is not None and stat.alive:
                raise exits.does_not_end(self.pid)
            self._report = self._confinement.explain(self._reap(expected=expected))
            self._confinement.close()
            self.let_go()
            await scratch.clear_away(self._spec.scratch)
        return self._report

    def let_go(self) -> None:
        self._family.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    async def log_tail(self) -> list[str]:
        return await trio.to_thread.run_sync(failure.log_tail, self._spec, (0, 0))

    def _stat(self) -> Stat | None:
        """Say how it is; None once it has been reaped, when its pid may be a stranger's."""
        stat = procfs.read_stat(self.pid)
        return None if stat is None or stat.start_ticks != self._start_ticks else stat

    @property
    def _group(self) -> int | None:
        """Its process group, while that is surely its: once it is reaped, another may get the id."""
        return None if self._stat() is None else self.pid

    async def _tell(self, number: signal.Signals) -> None:
        await self._family.look(self._group, self._token_sha256, self._confinement.members)
        group = self._group
        if group is not None:
            tree.signal_group(group, number)
        self._family.signal(number, beside=group)

    async def _dismiss(self, number: signal.Signals) -> None:
        members = self._confinement.members
        await tree.dismiss(self._group, self._token_sha256, number, members=members)

    def _reap(self, *, expected: bool) -> ExitReport:
        try:
            report = exits.reap(self.pid, expected=expected)
        except ChildProcessError:
            report = None
        return report or ExitReport(None, None, expected, at=time.time())
