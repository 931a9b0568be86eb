"""PM2 (npm: pm2), on the path or in .cache/pm2."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.children import BenchError
from bench.ours import ROOT
from bench.peers.peer import HOST, Missing
from bench.supervision.managers.manager import COMMAND, Managed, own_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCAL = ROOT / ".cache" / "pm2" / "node_modules" / ".bin"
SECONDS = 600.0


@contextmanager
def start(directory: Path, count: int) -> Iterator[Managed]:
    program = shutil.which("pm2", path=f"{os.environ.get('PATH', os.defpath)}:{LOCAL}")
    if program is None:
        raise Missing("pm2 is not installed (npm install --prefix .cache/pm2 pm2)")
    home = directory / "pm2"
    doors = own_ports(count)
    try:
        if (home / "dump.pm2").exists():
            _run(program, home, "resurrect")
        elif count:
            apps = [_app(number, door.port) for number, door in enumerate(doors)]
            described = directory / "ecosystem.json"
            described.write_text(json.dumps({"apps": apps}))
            _run(program, home, "start", str(described))
            _run(program, home, "save")
        else:
            _run(program, home, "ping")
        yield Managed([int((home / "pm2.pid").read_text())], doors)
    finally:
        _run(program, home, "kill")


def _app(number: int, port: int) -> dict[str, object]:
    interpreter, *arguments, script = COMMAND
    return {
        "name": f"service-{number}",
        "script": script,
        "interpreter": interpreter,
        "interpreter_args": arguments,
        "env": {"HOST": HOST, "PORT": str(port)},
        "max_restarts": 1000,
    }


def _run(program: str, home: Path, *arguments: str) -> None:
    done = subprocess.run(
        (program, *arguments),
        env={**os.environ, "PM2_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise BenchError(f"pm2 {arguments[0]} failed: {done.stderr.strip()[-300:]}")
