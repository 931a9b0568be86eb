"""A worker's process: started with one end of a pair of sockets, and nothing else of ours."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING, Final

import trio

from muxi.process import exits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: What an interpreter needs of our environment to be the same one, and to write in the same way.
KEPT: Final = frozenset(
    {
        "HOME",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "LD_LIBRARY_PATH",
        "PATH",
        "PYTHONHOME",
        "PYTHONPATH",
        "TMPDIR",
        "TZ",
    }
)


class WorkerProcess:
    """A child of ours. Whoever starts it ends it, by `end`."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.pid = popen.pid
        self._popen = popen
        self._pidfd = exits.open_pidfd(popen.pid)

    @classmethod
    def start(
        cls, command: Sequence[str], environment: Mapping[str, str]
    ) -> tuple[WorkerProcess, socket.socket]:
        """Start one; gives it, and our end of the channel to it. Raises OSError.

        It has a process group of its own, so that a terminal's signals pass it by: it is ended by us.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                popen = subprocess.Popen(
                    (*command, str(theirs.fileno())),
                    stdin=subprocess.DEVNULL,
                    env={name: value for name, value in environment.items() if name in KEPT},
                    pass_fds=(theirs.fileno(),),
                    process_group=0,
                )
        except BaseException:
            ours.close()
            raise
        return cls(popen), ours

    async def end(self, patience: float) -> int:
        """Wait so many seconds for its end, kill it if need be, and reap it; gives its exit code.

        Cancelled, it kills at once. A negative code is the signal that ended it.
        """
        try:
            with trio.move_on_after(patience):
                await exits.wait_exit(self.pid, self._pidfd)
        finally:
            # Not reaped yet, so the number is still its own.
            self._popen.kill()
            with trio.CancelScope(shield=True):
                await exits.wait_exit(self.pid, self._pidfd)
            if self._pidfd is not None:
                os.close(self._pidfd)
                self._pidfd = None
            self._popen.wait()
        return self._popen.returncode
