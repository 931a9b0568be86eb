"""MUXI formations on Apptainer, seen from outside; a stand-in takes the engine's place."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, cast

from tests.live import bundle, environment, running, write_config
from tests.runtime.apptainer_stage import install_engine, make_image

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live import LiveServer

MORE = "runtime: {auto_download: false, host_tools: false}\n"


def prepare(directory: Path, *versions: str) -> str:
    """Install the engine and images; return the PATH that the server gets."""
    write_config(directory, MORE)
    install_engine(directory / "bin")
    for version in versions:
        make_image(directory / "data" / "runtimes", directory / "seen", version)
    return f"{directory / 'bin'}{os.pathsep}{environment(directory)['PATH']}"


def muxi(formation_id: str, version: str = "1.0.0", runtime: str = "latest") -> bytes:
    about = {"schema": "1.0.0", "description": "An agent", "version": version, "muxi_runtime": runtime}
    return bundle(formation_id, {"agents/helper.afs": "id: helper\n"}, **about)


def pid(server: LiveServer, formation_id: str) -> int:
    return cast("int", server.formation(formation_id)["pid"])


def image(server: LiveServer) -> str:
    return (server.directory / "seen").read_text()


def test_from_deploy_to_crash_and_adoption(tmp_path: Path) -> None:
    path = prepare(tmp_path, "1.2.3")
    with running(tmp_path, PATH=path) as server:
        answer = server.deploy("agent", muxi("agent"))
        assert answer.status_code == 201, answer.text
        assert server.get("/api/agent/env").json()["HOME"] == "/state"
        os.kill(pid(server, "agent"), signal.SIGKILL)
        before = server.wait_until("agent", status="running", restart_count=1)
        server.process.kill()
        server.process.wait()
    make_image(tmp_path / "data" / "runtimes", tmp_path / "seen", "9.0.0")
    with running(tmp_path, PATH=path) as server:
        assert server.get("/api/agent/x").json() == {"path": "/x"}
        after = server.formation("agent")
        assert (after["pid"], after["adopted"]) == (before["pid"], True)
        # A newer image has come; what runs stays on the one that it was deployed on.
        assert server.rpc("POST", "/rpc/formations/agent/restart").status_code == 200
        assert "1.2.3" in image(server)
        assert server.get("/api/agent/x").json() == {"path": "/x"}
        assert server.rpc("PUT", "/rpc/formations/agent", content=muxi("agent", "1.1.0")).status_code == 200
        assert "9.0.0" in image(server)
        assert server.rpc("POST", "/rpc/formations/agent/rollback").status_code == 200
        assert "1.2.3" in image(server)
        assert server.rpc("POST", "/rpc/formations/agent/stop").status_code == 200
    assert list((tmp_path / "data" / "apptainer" / "scratch").iterdir()) == []


def test_a_version_that_is_not_here_leaves_nothing_and_says_what_is(tmp_path: Path) -> None:
    path = prepare(tmp_path, "1.2.3")
    with running(tmp_path, PATH=path) as server:
        answer = server.deploy("agent", muxi("agent", runtime="2"))
        assert answer.status_code >= 400
        assert "1.2.3" in answer.text
        assert server.rpc("GET", "/rpc/formations/agent").status_code == 404
