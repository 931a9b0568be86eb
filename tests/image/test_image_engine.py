"""Formations in containers, from a server in a container: the engine's socket is mounted into it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.containers.boxed import boxed
from tests.image.container import started, until
from tests.live import free_ports

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.built import Docker

SOCKET = "/var/run/docker.sock"


@pytest.mark.parametrize("user", ["root", "10001"])
def test_a_formation_in_a_container_beside_the_server_s(docker: Docker, tmp_path: Path, user: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for directory in (data, *data.parents):
        directory.chmod(directory.stat().st_mode | 0o711)
    group = str(docker.engine.socket.stat().st_gid)
    if user != "root":
        os.chown(data, int(user), int(user))
    port = free_ports()[0]
    with started(
        docker,
        *("--user", user, "--group-add", group, "--network", "host", "--env", "MUXI_HOST=127.0.0.1"),
        *("--volume", f"{docker.engine.socket}:{SOCKET}", "--volume", f"{data}:{data}"),
        *("--env", f"MUXI_DATA_DIR={data}", "--env", f"MUXI_CONFIG_DIR={data}/config"),
        *("--env", f"MUXI_PORT={port}"),
        url=f"http://127.0.0.1:{port}",
    ) as box:
        box.deploy("boxed", boxed("boxed"))
        assert box.get("/api/boxed/who").json()["cwd"] == "/formation"
        assert box.get("/api/boxed/remember").text == "1"
        assert len(docker.engine.containers(**{"ai.muxi.formation": "boxed"})) == 1
        assert box.stop() == 0, box.log
        until(lambda: not docker.engine.containers(**{"ai.muxi.formation": "boxed"}), lambda: box.log)
