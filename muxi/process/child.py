"""A process that we have spawned, from its first moment to its reaping."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import trio

from muxi.process import exits, failure, listeners, procfs, scratch, tree
from muxi.process.identity import KILL_TIMEOUT, identify

if TYPE_CHECKING:
    import subprocess

    from muxi.process.confinement import Confinement
    from muxi.process.spec import ExitReport, ProcessSpec


class Child:
    """Our own child, the leader of its session and process group. See `Handle` for the contract.

    It is reaped by `end` alone, and only after its group has been killed: until then the zombie
    keeps the group's id from being given to others.
    """

    adopted = False
    container_id = ""
    usage = None

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        token: str,
        spec: ProcessSpec,
        log_starts: tuple[int, int],
        *,
        confinement: Confinement,
    ) -> None:
        """Take over a process just spawned.

        `log_starts` are the ends of its stdout and stderr logs before: an earlier one's output.
        The confinement is closed when it has been reaped.
        """
        self.started_at = time.time()
        self._spec = spec
        self._log_starts = log_starts
        self._confinement = confinement
        self.pid = popen.pid
        self._popen = popen
        self._token_sha256 = procfs.hash_token(token.encode())
        self._pidfd = exits.open_pidfd(popen.pid)  # its pid can't be another's: it is not reaped
        #: None also where another server could not hold it: it would be of no use there.
        self.identity = None if self._pidfd is None else identify(popen.pid, token)
        self._family = tree.Family()
        self._report: ExitReport | None = None

    async def wait(self) -> None:
        await exits.wait_exit(self.pid, self._pidfd)

    async def listens(self, host: str, port: int) -> bool | None:
        return await trio.to_thread.run_sync(listeners.belong_to, self.pid, self._token_sha256, host, port)

    async def cpu_seconds(self) -> float:
        return await trio.to_thread.run_sync(tree.cpu_seconds, self.pid, self._token_sha256)

    async def ask_to_end(self) -> None:
        """Send TERM to the group, and to what left the group; return when all is gone."""
        await self._look()
        tree.signal_group(self.pid, signal.SIGTERM)
        self._family.signal(signal.SIGTERM, beside=self.pid)
        await self.wait()
        await self._family.gone()
        await self._dismiss(signal.SIGTERM)

    async def end(self, *, expected: bool) -> ExitReport:
        """Kill the group and what left it, then reap. Takes at most `KILL_TIMEOUT` seconds."""
        if self._report is None:
            if not exits.has_ended(self.pid):  # else its children have lost it as their parent already
                await self._look()
            tree.signal_group(self.pid, signal.SIGKILL)
            self._family.signal(signal.SIGKILL)
            with trio.move_on_after(KILL_TIMEOUT):
                await self.wait()
                self._confinement.kill()
                await self._family.gone()
                await self._dismiss(signal.SIGKILL)
            self._report = self._reap(expected=expected)
            await scratch.clear_away(self._spec.scratch)
        return self._report

    def let_go(self) -> None:
        # It stays confined, and supervised: nobody here may reap it but whoever adopts it.
        self._popen.returncode = 0  # not known, and not for Popen to find out
        self._release()

    async def log_tail(self) -> list[str]:
        return await trio.to_thread.run_sync(failure.log_tail, self._spec, self._log_starts)

    async def _look(self) -> None:
        await self._family.look(self.pid, self._token_sha256, self._confinement.members)

    async def _dismiss(self, number: signal.Signals) -> None:
        await tree.dismiss(self.pid, self._token_sha256, number, members=self._confinement.members)

    def _reap(self, *, expected: bool) -> ExitReport:
        report = exits.reap(self.pid, expected=expected)
        if report is None:
            raise exits.does_not_end(self.pid)
        # Popen must not try to reap it a second time, by a pid that may be another's by then.
        self._popen.returncode = report.status if report.signal_number is None else -report.signal_number
        self._release()
        report = self._confinement.explain(report)
        self._confinement.close()
        return report

    def _release(self) -> None:
        self._family.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
