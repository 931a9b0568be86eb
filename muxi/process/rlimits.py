"""The one resource limit of the old kind that is meant for a single process: open files (setrlimit(2))."""

from __future__ import annotations

import sys
from contextlib import suppress

AVAILABLE = sys.platform == "linux"
"""Elsewhere a limit can't be put on another process (prlimit(2))."""

if sys.platform == "linux":
    import resource

    def limit_open_files(pid: int, most: int) -> None:
        """Let a process, and what it starts from now on, have so many files open; 0: as many as we.

        More than its hard limit only root can give; then it gets that. One that has ended is no error.
        """
        if not most:
            return
        with suppress(ProcessLookupError, PermissionError):
            try:
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
            except (PermissionError, ValueError):
                _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))

else:

    def limit_open_files(pid: int, most: int) -> None:
        """Do nothing: there is no such call here."""
