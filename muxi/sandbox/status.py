"""What sandboxes can be made on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Status:
    """`program` is bubblewrap, if a trial sandbox could be made with it; `version` is what it calls itself.

    `filter_file` is the filter of system calls, None where the kernel took none. `setpriv` is the
    program that at least keeps a process from new privileges. `problem` and `cure` are said where
    there is no sandbox.
    """

    program: str = ""
    version: str = ""
    filter_file: Path | None = None
    setpriv: str = ""
    problem: str = ""
    cure: str = ""

    def in_force(self, mode: str) -> Mapping[str, str]:
        """Say by which means native formations are kept apart here; "none" means that they are not."""
        privileges = self.version or ("setpriv" if self.setpriv else "none")
        return {
            "native_formations": mode,
            "files_and_processes": self.version or "none",
            "system_calls": "seccomp" if self.filter_file else "none",
            "new_privileges": privileges,
            "note": self.problem,
        }


UNTRIED = Status(problem="not tried yet: no formation has wanted one")
