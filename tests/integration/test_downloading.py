"""A runtime that a deploy downloads, seen from outside: told while it comes, and kept for ever."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

from muxi.cli.sse import read_events
from muxi.images.names import architecture
from tests.integration.test_apptainer import image, muxi
from tests.live import environment, running, write_config
from tests.program import muxi_command
from tests.runtime.apptainer_stage import install_engine, make_image
from tests.static_files import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live import LiveServer


def publish(directory: Path, version: str) -> None:
    make_image(directory / "mirror" / version, directory / "seen", version)
    with (directory / "mirror" / "versions.txt").open("a") as file:
        file.write(f"{version}\n")


def deploy(server: LiveServer, version: str) -> list[tuple[str, dict[str, object]]]:
    content = muxi("agent", runtime=version)
    answer = server.deploy("agent", content, Accept="text/event-stream")
    return [(event.name, event.data) for event in read_events(iter([answer.content]))]


def test_a_runtime_comes_with_the_deploy_and_stays_without_the_mirror(tmp_path: Path) -> None:
    engine = install_engine(tmp_path / "bin").parent
    path = f"{engine}{os.pathsep}{environment(tmp_path)['PATH']}"
    (tmp_path / "mirror").mkdir()
    publish(tmp_path, "1.2.3")
    publish(tmp_path, "1.2.10")
    with serving(tmp_path / "mirror") as base:
        write_config(tmp_path, f"runtime: {{sif_base_url: '{base}', host_tools: false}}\n")
        with running(tmp_path, PATH=path) as server:
            refused = deploy(server, "7")
            assert refused[-1][1]["error"] == "ResolveError"
            assert "1.2.10, 1.2.3" in str(refused[-1][1]["message"])
            events = deploy(server, "1.2")
            assert events[-1][0] == "complete", events[-1]
            told = [data for _, data in events if data.get("stage") == "downloading_sif"]
            assert told[-1]["progress"] == 100
            assert told[-1]["version"] == "1.2.10"
    # The mirror is gone, and the server starts anew: nothing is asked, and nothing changes.
    with running(tmp_path, PATH=path) as server:
        server.wait_until("agent", status="running")
        assert server.rpc("POST", "/rpc/formations/agent/restart").status_code == 200
        assert "1.2.10" in image(server)
        pin = json.loads((server.formations / "agent" / "version.json").read_text())["current"]["runtime"]
        assert (pin["runtime"], pin["version"]) == ("apptainer", "1.2.10")
        listed = subprocess.run(
            muxi_command("runtime", "list", "--json"),
            env={**environment(tmp_path), "PATH": path},
            capture_output=True,
            timeout=60,
            check=True,
        )
        (one,) = json.loads(listed.stdout)["images"]
        assert (one["name"], one["used_by"]) == ("1.2.10", ["agent"])
        assert pin["artifact"] == f"sha256:{one['sha256']}"
    assert {file.name for file in (tmp_path / "data" / "runtimes").iterdir()} == {
        f"muxi-runtime-1.2.10-linux-{architecture()}.sif",
        f".muxi-runtime-1.2.10-linux-{architecture()}.sif.sha256",
        "registry.json",
    }
