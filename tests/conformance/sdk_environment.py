"""The virtual environment of the real Python SDK, made once a lock file and kept for later runs.

It is one of its own because the SDK's package is called `muxi`, as ours is.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.live import ROOT

if TYPE_CHECKING:
    from pathlib import Path

LOCK = ROOT / "requirements" / "sdk.lock"
CACHE = ROOT / ".cache"
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")
INSTALL = ("install", "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK))


def sdk_python() -> Path:
    """Return the interpreter that has the SDK, after making its environment where it is missing."""
    home = CACHE / f"sdk-venv-{_fingerprint()}"
    if not home.exists():
        _make(home)
    return _interpreter(home)


def _fingerprint() -> str:
    """Say by which lock and interpreter an environment was made; it is good for no others."""
    digest = hashlib.sha256(LOCK.read_bytes())
    digest.update(f"{os.path.realpath(sys.executable)} {sys.version}".encode())
    return digest.hexdigest()[:16]


def _make(home: Path) -> None:
    """Build under a temporary name and rename, so that what is there is whole."""
    CACHE.mkdir(exist_ok=True)
    building = home.with_name(f"{home.name}.building-{os.getpid()}")
    try:
        # Our own pip installs into it: one of its own takes longer than all else.
        _run(sys.executable, "-m", "venv", "--without-pip", str(building))
        _run(sys.executable, *PIP, "--python", str(_interpreter(building)), *INSTALL)
        _put(building, home)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _put(building: Path, home: Path) -> None:
    try:
        building.rename(home)
    except OSError:
        if not home.exists():  # else another run of the tests was faster, and its one is as good
            raise


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def _interpreter(home: Path) -> Path:
    return home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
