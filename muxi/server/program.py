"""How this program was started: by which it is started again, after its file was replaced.

The path is the one that was given, never the one that it led to: an upgrade swaps a link, or puts
another file in the place, and `/proc/self/exe` would go on naming the old one.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Program:
    """A file to execute, and the arguments it is started with, its own name first."""

    path: str
    argv: tuple[str, ...]
    #: Why it can't take this one's place by `exec`; "" if it can.
    obstacle: str = ""

    def checking(self) -> tuple[str, ...]:
        """Return the command line that only checks whether it could start."""
        return (self.path, *self.argv[1:], "--check")


def this_program() -> Program:
    """Find out how this process was started. Call it before anything changes the directory."""
    compiled = compilation()
    if compiled is None:
        return Program(sys.executable, tuple(sys.orig_argv), _obstacle(onefile=False))
    typed = str(getattr(compiled, "original_argv0", None) or sys.argv[0])
    return Program(absolute(typed), (typed, *sys.argv[1:]), _obstacle(onefile=bool(compiled.onefile)))


def compilation() -> Any:  # noqa: ANN401 - an object of Nuitka's, which has no types
    """Return what the compiler says of this program, if it is a compiled one; else None."""
    return getattr(sys.modules["__main__"], "__compiled__", None)


def absolute(typed: str) -> str:
    """Return where a command is, as a shell finds it, with its links as they are."""
    found = typed if os.sep in typed else shutil.which(typed) or typed
    return str(Path.cwd() / found)


def _obstacle(*, onefile: bool) -> str:
    if os.name == "nt":
        return "Windows can't replace the program of a process"
    if onefile:
        return "this build unpacks itself and runs as a child of what was started"
    return ""
