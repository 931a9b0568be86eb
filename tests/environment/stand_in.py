"""A stand-in for uv, whose behaviour a test chooses: it makes an environment of links, at once."""

from __future__ import annotations

import stat
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# `uv venv … TARGET` makes the environment; `uv pip …` does what the test says.
_SCRIPT = """#!/bin/sh
for last; do :; done
echo "$$ $*" >> {log}
if [ "$1" = venv ]; then
    mkdir -p "$last/bin" && ln -s {python} "$last/bin/python"
    exit
fi
{behaviour}
"""


def stand_in(directory: Path, behaviour: str = "") -> Path:
    """Put one into a directory, and return the file where it notes its pid and arguments, a call a line."""
    directory.mkdir(parents=True, exist_ok=True)
    log, program = directory / "calls", directory / "uv"
    log.touch()
    program.write_text(_SCRIPT.format(log=log, python=sys.executable, behaviour=behaviour))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return log


def fake_python(path: Path, version: str, *, body: str | None = None) -> Path:
    """Make a program that says of itself that it is a Python of that version, and can do nothing else."""
    numbers = [int(part) for part in version.split(".") if part]
    says = (
        f'{{"path": "{path}", "real": "{path}", "version": {numbers}, '
        '"abi": ["cpython", null, "linux"], "has_pip": false}'
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body or f'echo {says!r}'}\n")
    path.chmod(0o755)
    return path
