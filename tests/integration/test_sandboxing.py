"""Native formations in sandboxes, seen from outside: a whole server, from deploy to crash and adoption."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, cast

import pytest

from tests.live import APP, bundle, running, write_config

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live import LiveServer

CURIOUS = """
import os, pathlib
def see(path):
    try:
        return pathlib.Path(path).read_text()[:1]
    except OSError as error:
        return error.strerror
os.environ["SEEN"] = see(os.environ["LOOK_AT"])
"""


def configure(directory: Path, sandbox: str) -> None:
    write_config(directory)
    config = directory / "config" / "config.yaml"
    config.write_text(config.read_text().replace("formations:\n", f"formations:\n  sandbox: {sandbox}\n", 1))


def needs_bubblewrap(server: LiveServer) -> dict[str, str]:
    told = cast("dict[str, str]", server.rpc("GET", "/rpc/server/status").json()["data"]["sandbox"])
    if told["files_and_processes"] == "none":
        pytest.skip(f"no sandbox can be made here: {told['note']}")
    return told


def test_a_manifest_asks_for_a_sandbox_and_its_neighbour_does_not(tmp_path: Path) -> None:
    configure(tmp_path, "off")
    with running(tmp_path) as server:
        secret = str(tmp_path / "config" / "config.yaml")
        files = {"app.py": CURIOUS + APP}
        assert server.deploy("open", bundle("open", files, env={"LOOK_AT": secret})).status_code == 201
        content = bundle("closed", files, env={"LOOK_AT": secret}, sandbox=True)
        answer = server.deploy("closed", content)
        needs_bubblewrap(server)
        assert answer.status_code == 201
        assert len(server.get("/api/open/env").json()["SEEN"]) == 1
        assert server.get("/api/closed/env").json()["SEEN"] == "No such file or directory"


def test_an_update_a_crash_and_a_killed_server_are_as_ever(tmp_path: Path) -> None:
    configure(tmp_path, "auto")
    with running(tmp_path) as server:
        assert server.deploy("agent", bundle("agent")).status_code == 201
        assert needs_bubblewrap(server)["native_formations"] == "auto"
        assert server.get("/api/agent/pid").json() == 2  # the second one in a world of its own
        os.kill(cast("int", server.formation("agent")["pid"]), signal.SIGKILL)
        before = server.wait_until("agent", status="running", restart_count=1)
        server.process.kill()
        server.process.wait()
    with running(tmp_path) as server:
        assert server.get("/api/agent/pid").json() == 2
        after = server.formation("agent")
        assert (after["pid"], after["adopted"]) == (before["pid"], True)
        assert server.rpc("POST", "/rpc/formations/agent/restart").status_code == 200
        assert server.get("/api/agent/x").json() == {"path": "/x"}
        assert server.rpc("POST", "/rpc/formations/agent/stop").status_code == 200
    scratch = tmp_path / "data" / "sandbox" / "scratch"
    assert list(scratch.iterdir()) == []


def test_who_declines_a_required_sandbox_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    configure(tmp_path, "required")
    with running(tmp_path) as server:
        answer = server.deploy("agent", bundle("agent", sandbox=False))
        assert answer.status_code == 400
        assert "sandbox: false" in answer.text
        assert server.rpc("GET", "/rpc/formations/agent").status_code == 404
