"""A formation's process dies by violence; its callers and its neighbours should hardly notice."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.integration.outside import RECORDER, deployed, is_gone, processes, until
from tests.live import bundle

if TYPE_CHECKING:
    from tests.live import LiveServer


HELPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def test_a_killed_process_is_replaced(server: LiveServer) -> None:
    deployed(server, "victim")
    deployed(server, "neighbour")
    neighbour = server.formation("neighbour")["pid"]
    pid = server.formation("victim")["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    until(lambda: is_gone(pid), "it has ended")
    # No waiting for the next one: that is the proxy's part.
    answer = server.get("/api/victim/x")
    assert answer.status_code == 200
    assert server.client.post(f"{server.url}/api/victim/x", content=b"body").json() == {"size": 4}
    found = server.wait_until("victim", status="running", restart_count=1)
    assert found["pid"] not in {pid, 0}
    assert answer.json() == {"pid": found["pid"]}
    last_exit = found["last_exit"]
    assert isinstance(last_exit, dict)
    assert last_exit["signal"] == signal.SIGKILL
    assert last_exit["expected"] is False
    assert "SIGKILL" in str(last_exit["description"])
    assert server.formation("neighbour")["pid"] == neighbour
    assert server.formation("neighbour")["restart_count"] == 0


def test_the_whole_group_ends_with_its_formation(server: LiveServer, marker: str) -> None:
    """A formation that starts a helper leaves no orphan behind, stopped or deleted."""
    helper = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {HELPER!r}, {marker!r}])\n"
    app = recorder_with(helper)
    assert server.deploy("parent", bundle("parent", {"app.py": app})).status_code == 201
    until(lambda: len(processes(marker)) == 1, "the helper runs")
    assert server.rpc("POST", "/rpc/formations/parent/stop").status_code == 200
    assert processes(marker) == set()
    assert server.rpc("DELETE", "/rpc/formations/parent").status_code == 200


def recorder_with(first_lines: str) -> str:
    return RECORDER.decode().replace("import json\n", f"import json\n{first_lines}", 1)


def test_a_process_that_ignores_sigterm_is_killed_after_its_time(server: LiveServer) -> None:
    ignoring = recorder_with("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n")
    packed = bundle("stubborn", {"app.py": ignoring}, stop_timeout="200ms")
    assert server.deploy("stubborn", packed).status_code == 201
    pid = server.formation("stubborn")["pid"]
    assert isinstance(pid, int)
    assert server.rpc("POST", "/rpc/formations/stubborn/stop").status_code == 200
    assert is_gone(pid)
    assert server.rpc("DELETE", "/rpc/formations/stubborn").status_code == 200


def test_a_formation_that_dies_again_and_again_does_not_hurt_the_server(server: LiveServer) -> None:
    """It is healthy, then ends when asked for anything; a delete ends its misery."""
    app = recorder_with("").replace('self.answer({"pid": os.getpid()})', "os._exit(7)")
    assert server.deploy("fragile", bundle("fragile", {"app.py": app})).status_code == 201
    for count in (1, 2):
        assert server.get("/api/fragile/die").status_code == 502
        found = server.wait_until("fragile", status="running", restart_count=count)
        last_exit = found["last_exit"]
        assert isinstance(last_exit, dict)
        assert last_exit["status"] == 7
    assert server.rpc("DELETE", "/rpc/formations/fragile").status_code == 200
    assert server.process.poll() is None
    assert server.get("/ping").text == "pong"
