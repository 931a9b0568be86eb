"""Formations as containers of a real engine, through a whole server: deployed, replaced, crashed, ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.containers.boxed import boxed
from tests.live import DEADLINE, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.containers.dockerd import Dockerd
    from tests.live import LiveServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, dockerd: Dockerd) -> Iterator[LiveServer]:
    directory = tmp_path_factory.mktemp("server")
    with running(directory, DOCKER_HOST=dockerd.address) as live:
        yield live


def output(server: LiveServer, formation_id: str, stream: str = "out") -> str:
    return (server.data / "logs" / f"{formation_id}-{stream}.log").read_text()


def until_written(server: LiveServer, formation_id: str, text: str, stream: str = "out") -> str:
    deadline = time.monotonic() + DEADLINE
    while text not in output(server, formation_id, stream):
        assert time.monotonic() < deadline, output(server, formation_id, stream)
        time.sleep(0.02)
    return output(server, formation_id, stream)


def inspect(dockerd: Dockerd, formation_id: str) -> dict[str, dict[str, object]]:
    (one,) = dockerd.containers(**{"ai.muxi.formation": formation_id})
    with dockerd.client() as client:
        found: dict[str, dict[str, object]] = client.get(f"/containers/{one['Id']}/json").json()
    return found


def test_a_container_gets_what_it_needs_and_no_more(server: LiveServer, dockerd: Dockerd) -> None:
    answer = server.deploy("boxed", boxed("boxed", env={"SECRET": "canary-4711"}))
    assert answer.status_code < 300, answer.text
    view = server.formation("boxed")
    env = server.get("/api/boxed/env").json()
    assert (env["HOST"], env["PORT"], env["FORMATION_ID"]) == ("0.0.0.0", str(view["port"]), "boxed")
    assert env["SECRET"] == "canary-4711"
    assert env["MUXI_SERVER_URL"].startswith("http://host.docker.internal:")
    who = server.get("/api/boxed/who").json()
    assert (who["cwd"], who["status"]["NoNewPrivs"]) == ("/formation", "1")
    assert who["pid"] > 1, "an init of the engine's collects orphans"
    assert server.get("/api/boxed/write").text == "Read-only file system"
    found = inspect(dockerd, "boxed")
    assert found["HostConfig"]["PortBindings"] == {
        f"{view['port']}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(view["port"])}]
    }
    assert found["HostConfig"]["Privileged"] is False
    assert "NET_RAW" in str(found["HostConfig"]["CapDrop"])
    assert "canary" not in str(found["Path"]) + str(found["Args"]) + str(found["Config"]["Labels"])
    assert "canary" not in (server.data / "registry.json").read_text()


def test_output_goes_to_the_formation_s_logs(server: LiveServer) -> None:
    server.get("/api/boxed/say/hello")
    assert until_written(server, "boxed", "hello\n").startswith("app started\n")
    assert until_written(server, "boxed", "err hello\n", "err") == "err hello\n"
    answer = server.rpc("GET", "/rpc/formations/boxed/logs")
    assert "hello" in answer.text


def test_its_usage_is_measured(server: LiveServer) -> None:
    deadline = time.monotonic() + DEADLINE
    while not (usage := server.formation("boxed")["usage"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert isinstance(usage, dict)
    assert usage["memory"] > 1 << 20, usage


def test_an_update_and_a_rollback_keep_the_state(server: LiveServer, dockerd: Dockerd) -> None:
    assert server.get("/api/boxed/remember").text == "1"
    updated = server.rpc("PUT", "/rpc/formations/boxed", content=boxed("boxed", "2"))
    assert updated.status_code < 300, updated.text
    assert server.get("/api/boxed/who").json()["version"] == "2"
    assert server.get("/api/boxed/remember").text == "12"
    assert len(dockerd.containers(**{"ai.muxi.formation": "boxed"})) == 1
    back = server.rpc("POST", "/rpc/formations/boxed/rollback")
    assert back.status_code < 300, back.text
    assert server.get("/api/boxed/remember").text == "121"
    assert output(server, "boxed").count("app started") == 3
    assert output(server, "boxed").count("asked to end") == 2


def test_a_process_becomes_a_container_by_an_update_and_is_one_again(
    server: LiveServer, dockerd: Dockerd
) -> None:
    assert server.deploy("turncoat").status_code < 300
    updated = server.rpc("PUT", "/rpc/formations/turncoat", content=boxed("turncoat", "2"))
    assert updated.status_code < 300, updated.text
    assert server.get("/api/turncoat/who").json()["version"] == "2"
    assert len(dockerd.containers(**{"ai.muxi.formation": "turncoat"})) == 1
    assert server.rpc("POST", "/rpc/formations/turncoat/rollback").status_code < 300
    assert server.get("/api/turncoat/who").json() == {"path": "/who"}
    assert dockerd.containers(**{"ai.muxi.formation": "turncoat"}) == []
    assert server.rpc("DELETE", "/rpc/formations/turncoat").status_code < 300


def test_one_that_crashes_is_started_again(server: LiveServer, dockerd: Dockerd) -> None:
    (before,) = dockerd.containers(**{"ai.muxi.formation": "boxed"})
    server.get("/api/boxed/exit")
    view = server.wait_until("boxed", restart_count=1, status="running")
    assert view["last_exit"]["status"] == 7  # type: ignore[index]
    (after,) = dockerd.containers(**{"ai.muxi.formation": "boxed"})
    assert before["Id"] != after["Id"]


def test_that_it_ran_out_of_memory_is_told(server: LiveServer) -> None:
    answer = server.deploy("eater", boxed("eater", resources={"memory": "64M"}))
    assert answer.status_code < 300, answer.text
    server.get("/api/eater/eat")
    view = server.wait_until("eater", restart_count=1, status="running")
    assert view["last_exit"]["oom"] is True  # type: ignore[index]
    assert "64M" in view["last_exit"]["description"]  # type: ignore[index]
    assert server.rpc("DELETE", "/rpc/formations/eater").status_code < 300


def test_stop_and_delete_leave_no_container(server: LiveServer, dockerd: Dockerd) -> None:
    assert server.rpc("POST", "/rpc/formations/boxed/stop").status_code < 300
    assert dockerd.containers(**{"ai.muxi.formation": "boxed"}) == []
    assert server.rpc("POST", "/rpc/formations/boxed/start").status_code < 300
    assert server.get("/api/boxed/who").json()["version"] == "1"
    assert server.rpc("DELETE", "/rpc/formations/boxed").status_code < 300
    assert dockerd.containers() == []
    assert list((server.data / "containers").iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"command": ["/no/such/program"]}, "HealthCheckFailed", "/no/such/program failed: No such file"),
        ({"command": ["/usr/bin/python3", "-c", "exit(3)"]}, "HealthCheckFailed", "exit status 3"),
        ({"image": f"sha256:{'0' * 64}"}, "PullError", "Load it again"),
        ({"image": "not a name"}, "ImageError", "as `docker pull` takes it"),
        ({"command": None}, "SpawnError", "Give the formation a `command`"),
    ],
)  # fmt: skip
def test_what_can_t_run_is_explained_and_leaves_nothing(
    server: LiveServer, dockerd: Dockerd, fields: dict[str, object], code: str, words: str
) -> None:
    answer = server.deploy("broken", boxed("broken", **fields))
    assert answer.status_code >= 400
    assert words in answer.text, answer.text
    assert code in answer.text, answer.text
    assert dockerd.containers() == []
    assert list((server.data / "containers").iterdir()) == []
    assert server.rpc("GET", "/rpc/formations/broken").status_code == 404
