"""A real engine, and a server that is killed, or an engine that goes away, while formations run."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.containers.boxed import boxed
from tests.live import DEADLINE, running, write_config

if TYPE_CHECKING:
    from pathlib import Path

    from tests.containers.dockerd import Dockerd
    from tests.live import LiveServer

FULL = os.environ.get("MUXI_DOCKER") == "full"
LABEL = "ai.muxi.formation"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_config(tmp_path)
    path = tmp_path / "config" / "config.yaml"
    quick = "restart_delay: 100ms\n  health_check_interval: 200ms\n  usage_interval: 500ms"
    path.write_text(path.read_text().replace("restart_delay: 100ms", quick))
    return tmp_path


def until(server: LiveServer, formation_id: str, wanted: set[str]) -> dict[str, object]:
    deadline = time.monotonic() + DEADLINE
    while (view := server.formation(formation_id))["status"] not in wanted:
        assert time.monotonic() < deadline, view
        time.sleep(0.02)
    return view


def until_written(path: Path, text: str) -> str:
    deadline = time.monotonic() + DEADLINE
    while text not in path.read_text():
        assert time.monotonic() < deadline, path.read_text()
        time.sleep(0.02)
    return path.read_text()


def test_a_container_outlives_a_killed_server_and_loses_no_output(directory: Path, dockerd: Dockerd) -> None:
    log = directory / "data" / "logs" / "boxed-out.log"
    with running(directory, DOCKER_HOST=dockerd.address) as server:
        assert server.deploy("boxed", boxed("boxed")).status_code < 300
        server.get("/api/boxed/say/one")
        until_written(log, "one\n")
        (before,) = dockerd.containers(**{LABEL: "boxed"})
        port = server.formation("boxed")["port"]
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(DEADLINE)
        httpx.get(f"http://127.0.0.1:{port}/say/two", timeout=DEADLINE)
    with running(directory, DOCKER_HOST=dockerd.address) as server:
        view = server.wait_until("boxed", status="running")
        assert view["adopted"] is True
        server.get("/api/boxed/say/three")
        assert until_written(log, "three\n") == "app started\none\ntwo\nthree\n"
        (after,) = dockerd.containers(**{LABEL: "boxed"})
        assert before["Id"] == after["Id"]
        assert server.rpc("DELETE", "/rpc/formations/boxed").status_code < 300
    assert dockerd.containers() == []


@pytest.mark.skipif(not FULL, reason="only in `make test-docker`")
def test_what_a_container_said_last_while_no_server_ran_is_in_its_log(
    directory: Path, dockerd: Dockerd
) -> None:
    log = directory / "data" / "logs" / "boxed-out.log"
    with running(directory, DOCKER_HOST=dockerd.address) as server:
        assert server.deploy("boxed", boxed("boxed")).status_code < 300
        until_written(log, "app started\n")
        port = server.formation("boxed")["port"]
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(DEADLINE)
    httpx.get(f"http://127.0.0.1:{port}/say/last", timeout=DEADLINE)
    (one,) = dockerd.containers(**{LABEL: "boxed"})
    with dockerd.client() as client:
        client.post(f"/containers/{one['Id']}/kill")
    with running(directory, DOCKER_HOST=dockerd.address) as server:
        assert server.wait_until("boxed", status="running")["adopted"] is False
        assert until_written(log, "last\napp started\n").startswith("app started\nlast\n")
        assert server.rpc("DELETE", "/rpc/formations/boxed").status_code < 300
    assert dockerd.containers() == []


@pytest.mark.skipif(not FULL, reason="only in `make test-docker`")
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_formations_come_back_with_their_engine(directory: Path, dockerd: Dockerd, end: str) -> None:
    with running(directory, DOCKER_HOST=dockerd.address) as server:
        assert server.deploy("boxed", boxed("boxed")).status_code < 300
        getattr(dockerd, end)()
        try:
            view = until(server, "boxed", {"unhealthy", "crashed", "restarting"})
            assert view["reason"], view
            assert server.get("/health").status_code == 200
            refused = server.deploy("another", boxed("another"))
            assert refused.status_code == 503
            assert "container engine" in refused.text
        finally:
            dockerd.start()
        view = server.wait_until("boxed", status="running")
        assert server.get("/api/boxed/who").json()["version"] == "1"
        assert len(dockerd.containers(**{LABEL: "boxed"})) == 1
        assert server.rpc("DELETE", "/rpc/formations/boxed").status_code < 300
    assert dockerd.containers() == []


@pytest.mark.skipif(not FULL, reason="only in `make test-docker`")
def test_an_engine_that_is_not_up_yet_is_waited_for(directory: Path, dockerd: Dockerd) -> None:
    with running(directory, DOCKER_HOST=dockerd.address) as server:
        assert server.deploy("boxed", boxed("boxed")).status_code < 300
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(DEADLINE)
    dockerd.stop()
    try:
        with running(directory, DOCKER_HOST=dockerd.address) as server:
            view = until(server, "boxed", {"crashed", "restarting"})
            assert "container engine" in str(view), view
            dockerd.start()
            server.wait_until("boxed", status="running")
            assert len(dockerd.containers(**{LABEL: "boxed"})) == 1
            assert server.rpc("DELETE", "/rpc/formations/boxed").status_code < 300
    finally:
        dockerd.start()
    assert dockerd.containers() == []
