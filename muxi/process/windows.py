"""Starting and holding a process on Windows, where a job object is what a process group is elsewhere.

The process is created suspended, put into a job of its own, and only then let run: whatever it
starts is in the job too. The job does not end with us (no kill-on-close). It is asked to end by
Ctrl+Break, which reaches console programs of its process group, and killed by ending the job.
Limits of the job stand in for cgroups: memory is counted as committed, not as resident, and
what passes it is refused memory, not killed.
"""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, Protocol

import trio

from muxi.errors import OperatorError
from muxi.process import failure
from muxi.process.identity import KILL_TIMEOUT
from muxi.process.spec import ExitReport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from muxi.process.identity import Identity
    from muxi.process.limits import Limits
    from muxi.process.newborn import Newborn
    from muxi.process.spec import ProcessSpec

CREATE_SUSPENDED = 0x4
CREATE_NEW_PROCESS_GROUP = 0x200
KILLED = 1
"""The exit status of a process whose job was ended."""


class Kernel(Protocol):
    """What is asked of the kernel: `muxi.process.windows_kernel.WindowsKernel`."""

    def create_job(self, name: str) -> int: ...
    def limit_job(self, job: int, limits: Limits, processors: int) -> None: ...
    def assign(self, job: int, process: int) -> None: ...
    def resume(self, process: int) -> None: ...
    def terminate_job(self, job: int) -> None: ...
    def ctrl_break(self, group: int) -> bool: ...
    def close(self, handle: int) -> None: ...


async def _wait_for_handle(handle: int) -> None:
    wait: Callable[[int], Awaitable[None]] = getattr(trio.lowlevel, "WaitForSingleObject")  # noqa: B009
    await wait(handle)


class WindowsSystem:
    """Processes in job objects."""

    def __init__(
        self,
        kernel: Kernel,
        *,
        popen: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen,
        wait_for: Callable[[int], Awaitable[None]] = _wait_for_handle,
    ) -> None:
        """`popen` creates a process, `wait_for` waits for a kernel object: both for tests."""
        self._kernel = kernel
        self._popen = popen
        self._wait_for = wait_for

    def start(
        self, spec: ProcessSpec, environment: Mapping[str, str], stdout: int, stderr: int
    ) -> subprocess.Popen[bytes]:
        return self._popen(
            spec.argv,
            cwd=spec.cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            close_fds=True,
            creationflags=CREATE_SUSPENDED | CREATE_NEW_PROCESS_GROUP,
        )

    def hold(self, newborn: Newborn) -> WindowsChild:
        """Put it into its job and let it run; end it when either is refused (OperatorError)."""
        popen, job = newborn.popen, None
        try:
            job = self._kernel.create_job(f"Local\\muxi-{newborn.confinement.token_sha256[:32]}")
            self._kernel.limit_job(job, newborn.spec.limits, os.cpu_count() or 1)
            self._kernel.assign(job, _handle(popen))
            self._kernel.resume(_handle(popen))
        except OSError as error:
            popen.kill()
            popen.wait(KILL_TIMEOUT)
            newborn.confinement.close()
            if job is not None:
                self._kernel.close(job)
            raise OperatorError(
                f"Windows refused a job for the process: {error.strerror}.",
                code="SpawnError",
                stage="spawning",
                cure="Check the formation's `resources`, and that the server itself may create jobs.",
            ) from error
        return WindowsChild(self._kernel, newborn, job, wait_for=self._wait_for)


class WindowsChild:
    """A process and its job. See `Handle` for the contract.

    `identity` is None: without /proc nothing could be proved of it later.
    """

    adopted = False
    container_id = ""
    usage = None
    identity: Identity | None = None

    def __init__(
        self,
        kernel: Kernel,
        newborn: Newborn,
        job: int,
        *,
        wait_for: Callable[[int], Awaitable[None]],
    ) -> None:
        self.pid = newborn.popen.pid
        self.started_at = time.time()
        self._kernel = kernel
        self._newborn = newborn
        self._popen = newborn.popen
        self._job = job
        self._wait_for = wait_for
        self._report: ExitReport | None = None

    async def wait(self) -> None:
        await self._wait_for(_handle(self._popen))

    async def listens(self, host: str, port: int) -> bool | None:  # noqa: ARG002 - it can't be told
        return None

    async def cpu_seconds(self) -> float:
        """Return 0.0: what it has used is not asked for here, so it is no sign of life either."""
        return 0.0

    async def ask_to_end(self) -> None:
        """Send Ctrl+Break to the group and wait for its leader; what stays behind is left to `end`.

        Without a common console, as in a service, nothing can be asked, and this returns at once.
        """
        if self._kernel.ctrl_break(self.pid):
            await self.wait()

    async def end(self, *, expected: bool) -> ExitReport:
        """End the job. Takes at most `KILL_TIMEOUT` seconds."""
        if self._report is None:
            self._kernel.terminate_job(self._job)
            with trio.move_on_after(KILL_TIMEOUT):
                await self.wait()
            self._report = self._collect(expected=expected)
        return self._report

    def let_go(self) -> None:
        self._kernel.close(self._job)

    async def log_tail(self) -> list[str]:
        return await trio.to_thread.run_sync(failure.log_tail, self._newborn.spec, self._newborn.log_starts)

    def _collect(self, *, expected: bool) -> ExitReport:
        status = self._popen.poll()
        if status is None:
            raise OperatorError(
                f"Process {self.pid} does not end, even after its job was ended.",
                code="StopError",
                cure="It hangs inside the kernel, mostly on a driver: mend that.",
            )
        self._kernel.close(self._job)
        self._newborn.confinement.close()
        return ExitReport(status=status, signal_number=None, expected=expected, at=time.time())


def _handle(popen: subprocess.Popen[bytes]) -> int:
    return int(getattr(popen, "_handle"))  # noqa: B009 - there is no public name for it
