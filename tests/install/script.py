"""install.sh as a process, with stand-ins for commands where a test wants them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.program import BINARY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "install" / "install.sh"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
FILE = f"muxi-server-{sys.platform}-{ARCHITECTURES.get(platform.machine(), '')}"
SUPPORTED = sys.platform in {"linux", "darwin"} and platform.machine() in ARCHITECTURES
PROGRAM = Path(BINARY).read_bytes() if BINARY else b"#!/bin/sh\necho 'MUXI Server 1.20261122.0'\n"


def install(
    home: Path,
    *arguments: str,
    path: str | None = None,
    more: Mapping[str, str] | None = None,
    shell: Sequence[str] = ("/bin/sh",),
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*shell, str(SCRIPT), *arguments],
        env={"HOME": str(home), "PATH": path or os.environ["PATH"], "SHELL": "/bin/bash", **(more or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        start_new_session=True,  # a test may signal all of it, as Ctrl-C does
    )


def stand_in(directory: Path, name: str, script: str) -> str:
    """Put a command before all others; gives the PATH."""
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"{directory}{os.pathsep}{os.environ['PATH']}"


def left(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*") if not path.is_dir()}


def refused(done: subprocess.CompletedProcess[str], what: str) -> None:
    """One sentence of what is wrong, one of what to do, and nothing else."""
    assert done.returncode == 1, done.stdout
    assert what in done.stderr
    assert "What to do: " in done.stderr
    assert len(done.stderr.splitlines()) == 2, done.stderr
    assert done.stdout == ""
