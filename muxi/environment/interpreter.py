"""The Pythons of this machine. Never ours: in the compiled program `sys.executable` is no Python.

A name on the path proves little (a version manager puts names there that only complain), so every
candidate is run once and asked what it is.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT: Final = 20.0
"""Seconds that an interpreter may take to say what it is."""

_QUESTION: Final = """
import importlib.util, json, os, sys, sysconfig
print(json.dumps({
    "path": sys.executable,
    "real": os.path.realpath(sys.executable),
    "version": sys.version_info[:3],
    "abi": [sys.implementation.cache_tag, sysconfig.get_config_var("SOABI"), sysconfig.get_platform()],
    "has_pip": bool(importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")),
}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that was run. `real` is the file itself, behind all links.

    `abi` says what compiled code it takes; `has_pip`: it can make an environment with pip in it.
    """

    path: Path
    real: Path
    version: tuple[int, int, int]
    abi: str
    has_pip: bool

    @property
    def number(self) -> str:
        """Its version, as people write it."""
        return ".".join(map(str, self.version))


class Interviewer:
    """Asks interpreters what they are, each once as long as its file stays the same. For threads.

    What did not answer is asked again the next time: it may only have been slow.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment` is the server's; an interpreter sees only PATH and HOME of it."""
        self._environment = {name: environment[name] for name in ("PATH", "HOME") if name in environment}
        self._known: dict[tuple[str, int, int], Interpreter] = {}

    def ask(self, path: Path) -> Interpreter | None:
        """Return what an interpreter is; None for what is none, or does not work. Blocks."""
        try:
            status = path.stat()
        except OSError:
            return None
        key = (str(path), status.st_ino, status.st_mtime_ns)
        found = self._known.get(key)
        if found is not None and found.path.exists():
            return found
        found = self._run(path)
        if found is not None:
            self._known[key] = found
        return found

    def _run(self, path: Path) -> Interpreter | None:
        try:
            answer = subprocess.run(
                # Isolated, and from the top: no file of a stranger's decides what it is.
                [path, "-I", "-c", _QUESTION],
                cwd=path.anchor,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT,
                check=True,
            )
            said = json.loads(answer.stdout)
            major, minor, micro = said["version"]
            return Interpreter(
                path=Path(said["path"] or path),
                real=Path(said["real"]),
                version=(int(major), int(minor), int(micro)),
                abi=" ".join(filter(None, said["abi"])),
                has_pip=bool(said["has_pip"]),
            )
        except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
            return None
