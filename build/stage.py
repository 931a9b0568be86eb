"""The sources as they are compiled: a copy of `muxi` that knows what it is built from, and on what."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENTRY = '''\
"""The program."""

import os
import sys

from muxi.cli.main import main

try:
    main()
except SystemExit as end:
    if "PYTHONINSPECT" not in os.environ:
        raise
    # With it, Python takes an exit for an error.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(end.code)
'''
FACTS = '''\
"""What the build knows of itself."""

from __future__ import annotations

GIT_COMMIT = {commit!r}
BUILD_TIME = {time!r}
PYTHON = {python!r}
OPENSSL = {openssl!r}
'''


@dataclass(frozen=True, slots=True)
class Facts:
    """What `version --json` tells of a build."""

    commit: str
    python: str
    openssl: str


def git_commit() -> str:
    """Name the commit that is checked out, with a mark if the files are not those of it."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return "unknown"
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "muxi", "build", "requirements")
    return f"{commit}-modified" if changed else commit


def build_time() -> str:
    """Return the time, or the one that SOURCE_DATE_EPOCH says, in UTC (reproducible-builds.org)."""
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def stage(directory: Path, facts: Facts) -> Path:
    """Copy the sources there, and return the file to begin with. Unchanged files keep their times."""
    target = directory / "muxi"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT / "muxi", target, ignore=shutil.ignore_patterns("__pycache__"))
    text = FACTS.format(commit=facts.commit, time=build_time(), python=facts.python, openssl=facts.openssl)
    (target / "cli" / "build_info.py").write_text(text, "utf-8")
    entry = directory / "muxi-server.py"
    entry.write_text(ENTRY)
    return entry


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
