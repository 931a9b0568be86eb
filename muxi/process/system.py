"""What an operating system must offer so that processes can be kept on it, and the choice of ours.

`posix` is Linux and macOS, `windows` is Windows. Whatever they don't have in common is behind
`System`; the rest of the room asks no other question about where it runs than "is there a /proc".
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from muxi.process.posix import PosixSystem
from muxi.process.windows import WindowsSystem
from muxi.process.windows_kernel import WindowsKernel

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from muxi.process.handle import Handle
    from muxi.process.newborn import Newborn
    from muxi.process.spec import ProcessSpec


class System(Protocol):
    """How a process is started and held. Neither method waits."""

    def start(
        self, spec: ProcessSpec, environment: Mapping[str, str], stdout: int, stderr: int
    ) -> subprocess.Popen[bytes]:
        """Start it with exactly this environment, no input, and these files as its outputs.

        It leads a group of its own, by which all of it can be told to end, and inherits no other
        file of ours. Raises OSError, ValueError, IndexError as `subprocess.Popen` does.
        """

    def hold(self, newborn: Newborn) -> Handle:
        """Take over what `start` has just returned."""


def this_system() -> System:
    """Return the one that we run on."""
    return WindowsSystem(WindowsKernel()) if os.name == "nt" else PosixSystem()
