"""The server as the first process of a PID namespace, as in a container without an init."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from muxi.process import procfs
from tests.live import APP, DEADLINE, bundle, running

if TYPE_CHECKING:
    from pathlib import Path

NAMESPACE = ("unshare", "--fork", "--pid", "--mount-proc", "--kill-child")
ORPHANS = """
        elif self.path == "/orphans":
            for _ in range(200):
                if os.fork() == 0:
                    if os.fork() == 0: os.execv("/bin/true", ["true"])
                    os._exit(0)
                os.wait()
            self.answer(b"{}")
        elif self.path == "/zombies":
            stats = [open(f"/proc/{pid}/stat").read() for pid in os.listdir("/proc") if pid.isdecimal()]
            self.answer(json.dumps(sum(") Z " in stat for stat in stats)).encode())
"""


def may_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False, timeout=30).returncode == 0


def test_the_server_as_the_first_process(tmp_path: Path) -> None:
    if not may_unshare():
        pytest.skip("this machine lets us have no PID namespace (unshare)")
    app = APP.replace('\n        elif self.path == "/pid":', f'{ORPHANS}        elif self.path == "/pid":')
    with running(tmp_path, before=NAMESPACE) as server:
        assert any(entry.get("pid") == 1 for entry in server.log)
        assert server.deploy("parent", bundle("parent", {"app.py": app})).status_code == 201
        assert server.get("/api/parent/orphans").json() == {}
        deadline = time.monotonic() + DEADLINE
        while server.get("/api/parent/zombies").json():
            assert time.monotonic() < deadline, "there are zombies"
            time.sleep(0.05)
        assert server.formation("parent")["status"] == "running"
        (first,) = procfs.children(server.process.pid)
        os.kill(first, signal.SIGTERM)
        assert server.process.wait(DEADLINE) == 0
