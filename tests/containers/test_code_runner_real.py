"""The code runner as a container of a real engine, and a formation beside it."""

from __future__ import annotations

import io
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.containers.boxed import boxed
from tests.containers.dockerd import IMAGE
from tests.live import DEADLINE, free_ports, running

if TYPE_CHECKING:
    from tests.containers.dockerd import Dockerd
    from tests.live import LiveServer

RUNNER = Path(__file__).parent.parent / "rce" / "runner.py"
TOKEN = "rce_CANARY0123456789"
NAME = "muxi-test-rce"


@pytest.fixture
def image(dockerd: Dockerd) -> str:
    """Make an image as the code runner's: it exposes its port, and starts by itself."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        cache = tarfile.TarInfo("cache/skills")
        cache.type, cache.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(cache)
        archive.add(RUNNER, "runner.py")
    changes = ["EXPOSE 7891", 'CMD ["/usr/bin/python3", "/runner.py"]']
    with dockerd.client() as client:
        made = client.post("/containers/create", json={"Image": IMAGE, "Cmd": ["/usr/bin/python3"]}).json()[
            "Id"
        ]
        client.put(f"/containers/{made}/archive", params={"path": "/"}, content=packed.getvalue())
        done = client.post(
            "/commit", params={"container": made, "repo": NAME, "tag": "1", "changes": changes}, json={}
        )
        client.delete(f"/containers/{made}")
    assert done.status_code == 201, done.text
    return f"{NAME}:1"


def runner(server: LiveServer) -> dict[str, Any]:
    """Wait until it runs, and say how it stands."""
    deadline = time.monotonic() + DEADLINE
    while True:
        found: dict[str, Any] = server.rpc("GET", "/rpc/server/status").json()["data"]["rce"]
        if found["state"] == "running":
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_it_runs_in_a_container_on_loopback_and_outlives_the_server(
    tmp_path: Path, dockerd: Dockerd, image: str
) -> None:
    asked = (
        f"rce: {{port: {free_ports(10)[0]}, auth_token: {TOKEN}, image: '{image}'}}\n"
        "runtime: {auto_download: false}"  # else Apptainer, where there is one, would be the first choice
    )
    with running(tmp_path, asked, DOCKER_HOST=dockerd.address) as server:
        found = runner(server)
        assert (found["runs"], found["exposed_on"]) == (f"container of {image}", [])
        (before,) = dockerd.containers(**{"ai.muxi.formation": "muxi-rce"})
        answer = httpx.post(
            f"{found['url']}/run",
            content="print(1)",
            headers={"Authorization": f"Bearer {TOKEN}"},
            trust_env=False,
        )
        assert answer.json()["stdout"] == "print(1)"
        assert TOKEN not in str(before)
        told = server.deploy("boxed", boxed("boxed"))
        assert told.status_code == 201, told.text
        env = server.get("/api/boxed/env").json()
        assert env["MUXI_RCE_URL"].startswith("http://host.docker.internal:")
        assert env["MUXI_RCE_TOKEN"] == TOKEN
        assert "code runner started" in (server.data / "logs" / "muxi-rce-out.log").read_text()
        server.process.kill()
        server.process.wait()
    with running(tmp_path, DOCKER_HOST=dockerd.address) as server:
        runner(server)
        (after,) = dockerd.containers(**{"ai.muxi.formation": "muxi-rce"})
        assert after["Id"] == before["Id"]
        assert server.rpc("DELETE", "/rpc/formations/boxed").status_code == 200
        assert server.terminate() == 0
    assert dockerd.containers() == []
