"""Running the system's own tools, and writing the files that they read."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from muxi.errors import OperatorError
from muxi.files import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]

PUBLIC_FILE: Final = 0o644
PATIENCE: Final = 600.0
"""Seconds: a stop waits for all formations."""


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end. Raises OperatorError when it can't be run."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL
        )
    except OSError as error:
        raise OperatorError(f"{command[0]} can't be run: {error.strerror or error}.") from error
    except subprocess.TimeoutExpired as error:
        raise OperatorError(f"{' '.join(command)} did not end within {PATIENCE:g} s.") from error


def must(tool: Run, *command: str) -> str:
    """Run a tool that has to succeed, and return what it printed. Raises OperatorError."""
    done = tool(command)
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise OperatorError(f"{' '.join(command)} failed: {said}")
    return done.stdout


def write(file: Path, data: bytes, mark: str) -> Path | None:
    """Write a definition; one that is there without our mark is somebody's own, and is kept beside it.

    Returns where that one is now. Raises OperatorError.
    """
    kept = file.with_name(f"{file.name}.replaced")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        theirs = file.exists() and mark.encode() not in file.read_bytes()
        if theirs:
            file.replace(kept)
        atomic_write(file, data, PUBLIC_FILE)
    except OSError as error:
        raise cannot_write(file, error) from error
    return kept if theirs else None


def remove(file: Path) -> None:
    """Remove a definition, if it is there. Raises OperatorError."""
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(file, error) from error


def cannot_write(file: Path, error: OSError) -> OperatorError:
    rights = isinstance(error, PermissionError) and os.name == "posix"
    cure = "Run it with sudo, or install it for yourself only: --user" if rights else None
    return OperatorError(f"{file} can't be written: {error.strerror or error}.", cure=cure)
