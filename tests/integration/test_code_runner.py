"""The code runner beside formations, in a whole server: who is told of it, and what it outlives."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from tests.integration.outside import until
from tests.live import DEADLINE, bundle, free_ports, running
from tests.process.conftest import alive

if TYPE_CHECKING:
    from tests.live import LiveServer

RUNNER = Path(__file__).parent.parent / "rce" / "runner.py"
TOKEN = "rce_CANARY0123456789"


def asking(port: int, token: str = TOKEN) -> str:
    command = f"/usr/bin/env RCE_TEST_HOST=127.0.0.1 {sys.executable} {RUNNER}"
    return f'rce: {{port: {port}, auth_token: {token}, command: "{command}"}}'


def runner(server: LiveServer) -> dict[str, Any]:
    found: dict[str, Any] = server.rpc("GET", "/rpc/server/status").json()["data"]["rce"]
    return found


def running_runner(server: LiveServer, *, but: int = 0) -> dict[str, Any]:
    """Wait until it runs, as another process than that one."""
    deadline = time.monotonic() + DEADLINE
    while (found := runner(server))["state"] != "running" or found["pid"] in {0, but}:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def events(server: LiveServer) -> list[object]:
    return [entry.get("event") for entry in server.log]


def environment(server: LiveServer, formation_id: str, **fields: Any) -> dict[str, str]:
    assert server.deploy(formation_id, bundle(formation_id, **fields)).status_code == 201
    found: dict[str, str] = server.get(f"/api/{formation_id}/env").json()
    return {name: value for name, value in found.items() if name.startswith("MUXI_RCE_")}


def test_formations_are_told_of_it_unless_they_have_their_own(tmp_path: Path) -> None:
    port = free_ports(10)[0]
    with running(tmp_path, asking(port)) as server:
        told = environment(server, "plain-bot")
        assert told == {"MUXI_RCE_URL": f"http://127.0.0.1:{port}", "MUXI_RCE_TOKEN": TOKEN}
        assert environment(server, "own-block", rce={"url": "http://elsewhere"}) == {}
        own = {"MUXI_RCE_URL": "http://elsewhere", "MUXI_RCE_TOKEN": "mine"}
        assert environment(server, "own-env", env=own) == own
        running_runner(server)
        answer = httpx.post(
            f"{told['MUXI_RCE_URL']}/run",
            content="print(1)",
            headers={"Authorization": f"Bearer {told['MUXI_RCE_TOKEN']}"},
            trust_env=False,
        )
        assert answer.json()["stdout"] == "print(1)"
        formations = server.rpc("GET", "/rpc/formations").json()["data"]["formations"]
        assert {one["id"] for one in formations} == {"plain-bot", "own-block", "own-env"}
        assert formations[0]["runtime"]["name"] == "native"
        assert server.terminate() == 0
        assert TOKEN not in str(server.log)
    assert not any(TOKEN in path.read_text("utf-8", "replace") for path in _logs(tmp_path))


def test_without_it_formations_start_all_the_same(tmp_path: Path) -> None:
    more = f"rce: {{auth_token: {TOKEN}, command: /nowhere/skills-rce}}"
    with running(tmp_path, more) as server:
        until(lambda: runner(server)["state"] == "unavailable", "told that there is none")
        assert "/nowhere/skills-rce" in runner(server)["reason"]
        assert environment(server, "plain-bot") == {}
        assert "no code runner" in events(server)


def test_a_reload_restarts_it_alone(tmp_path: Path) -> None:
    port = free_ports(10)[0]
    with running(tmp_path, asking(port)) as server:
        environment(server, "plain-bot")
        before, formation = running_runner(server), server.formation("plain-bot")["pid"]
        path = tmp_path / "config" / "config.yaml"
        path.write_text(path.read_text().replace(TOKEN, "rce_another"))
        server.process.send_signal(signal.SIGHUP)
        running_runner(server, but=before["pid"])
        assert server.formation("plain-bot")["pid"] == formation
        assert environment(server, "late-bot")["MUXI_RCE_TOKEN"] == "rce_another"


def test_it_outlives_a_killed_server_and_an_upgrade(tmp_path: Path) -> None:
    with running(tmp_path, asking(free_ports(10)[0])) as server:
        before = running_runner(server)["pid"]
        server.process.kill()
        server.process.wait()
    with running(tmp_path) as server:
        assert running_runner(server)["pid"] == before
        server.process.send_signal(signal.SIGUSR2)
        until(lambda: events(server).count("code runner adopted") == 2, "adopted by both")
        assert running_runner(server)["pid"] == before
        assert server.terminate() == 0
    assert not alive(before)


def test_its_output_is_kept_like_a_formation_s(tmp_path: Path) -> None:
    with running(tmp_path, asking(free_ports(10)[0])) as server:
        running_runner(server)
        log = server.data / "logs" / "muxi-rce-out.log"
        until(lambda: "code runner started" in log.read_text(), "its first line")


def _logs(directory: Path) -> list[Path]:
    return [path for path in (directory / "data" / "logs").rglob("*") if path.is_file()]
