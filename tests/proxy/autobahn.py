"""Autobahn|Testsuite, which runs on Python 2.7 only: found, installed once, and asked for its verdicts."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tests.live import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LOCK = Path(__file__).with_name("autobahn.lock")
CACHE = ROOT / ".cache"
#: Seconds for the installation, and for one run.
INSTALL_LIMIT = 300
RUN_LIMIT = 5400

#: addsitedir, not PYTHONPATH: the namespace packages of old are made by .pth files.
_RUN = "import site, sys; site.addsitedir(sys.argv.pop(1)); from autobahntestsuite.wstest import run; run()"


class UnavailableError(Exception):
    """It can't be run here; the text says why."""


class Autobahn:
    """An installation. Raises UnavailableError where there is none and none can be made."""

    def __init__(self) -> None:
        self._python = find_python27()
        fingerprint = hashlib.sha256(LOCK.read_bytes() + self._python.encode()).hexdigest()[:16]
        self._home = CACHE / f"autobahn-{fingerprint}"
        if not self._home.exists():
            self._install()

    def _install(self) -> None:
        """Build under another name and rename, so that what is there is whole."""
        CACHE.mkdir(exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=CACHE, prefix="autobahn-building-"))
        pip = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "install", "--no-deps")
        command = (self._python, *pip, "--target", str(building), "-r", str(LOCK))
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_LIMIT, check=True)
            building.rename(self._home)
        except subprocess.SubprocessError as error:
            raise UnavailableError(f"Autobahn|Testsuite could not be installed: {error}") from error
        finally:
            shutil.rmtree(building, ignore_errors=True)
        assert done.returncode == 0

    async def fuzz(self, url: str, cases: Sequence[str], directory: Path) -> dict[str, dict[str, str]]:
        """Run test cases against an echo server; give each one's verdicts."""
        reports = directory / "reports"
        servers = [{"agent": "echo", "url": url}]
        spec = {"outdir": str(reports), "servers": servers, "cases": cases, "exclude-cases": []}
        (directory / "spec.json").write_text(json.dumps(spec))
        command = [self._python, "-c", _RUN, str(self._home), "-m", "fuzzingclient", "-s", "spec.json"]
        with trio.fail_after(RUN_LIMIT):
            await trio.run_process(command, cwd=directory, capture_stdout=True, capture_stderr=True)
        index: dict[str, dict[str, dict[str, str]]] = json.loads((reports / "index.json").read_text())
        return index["echo"]


def find_python27() -> str:
    """Give the path of a Python 2.7 that has pip. Raises UnavailableError."""
    for candidate in _candidates():
        probe = (
            candidate,
            "-c",
            "import pip, sys; print(sys.executable); assert sys.version_info[:2] == (2, 7)",
        )
        try:
            done = subprocess.run(probe, capture_output=True, text=True, timeout=60, check=True)
        except (OSError, subprocess.SubprocessError):
            continue
        return done.stdout.strip()
    raise UnavailableError("there is no Python 2.7 with pip here")


def _candidates() -> Iterator[str]:
    found = shutil.which("python2.7")
    if found is not None:
        yield found
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for path in sorted(pyenv.glob("versions/2.7*/bin/python2.7")):
        yield str(path)
