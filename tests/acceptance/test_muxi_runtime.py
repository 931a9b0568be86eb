"""A real MUXI formation on the real `muxi-runtime` of the package index, through the whole server.

What is installed stays in `.cache/acceptance`, so that a second run takes the environment of the first.
"""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.acceptance.model import ANSWER, serving
from tests.live import ROOT, LiveServer, bundle, running, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ID = "greeter"
VERSION = "1.20260928.0"
PATIENCE = 3600.0
PLACE = ROOT / ".cache" / "acceptance"
CLIENT = {"X-MUXI-CLIENT-KEY": "client-key-of-the-test", "X-Muxi-User-ID": "tester"}
FORMATION = """
schema: "1.0.0"
id: greeter
version: "{version}"
description: Greets whoever comes.
muxi_runtime: "{runtime}"
server:
  api_keys: {{admin_key: admin-key-of-the-test, client_key: client-key-of-the-test}}
llm:
  api_keys: {{ollama: none}}
  models:
    - text: "ollama/llama3:8b@127.0.0.1:{port}"
overlord:
  workflow: {{auto_decomposition: false}}
memory:
  persistent: {{connection_string: "sqlite:///memory.db"}}
agents:
  - schema: "1.0.0"
    id: greeter
    name: Greeter
    description: Greets.
"""


@pytest.fixture(scope="module")
def place() -> Path:
    """Return a server's directories, as new but for what was downloaded and installed."""
    for name in ("config", "log", "data/formations", "data/logs", "data/registry.json", "data/receipts.json"):
        path = PLACE / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    write_config(PLACE)
    config = PLACE / "config" / "config.yaml"
    config.write_text(
        config.read_text().replace("timeout: 30s", "timeout: 900s") + "runtime: {offline: true}\n"
    )
    return PLACE


@pytest.fixture(scope="module")
def model() -> Iterator[int]:
    with serving() as port:
        yield port


@pytest.fixture(scope="module")
def live(place: Path) -> Iterator[LiveServer]:
    with running(place, MUXI_TELEMETRY="0") as server:
        server.client.timeout = httpx.Timeout(PATIENCE)
        yield server


def packed(port: int, version: str, runtime: str = "1.20260928") -> bytes:
    text = FORMATION.format(version=version, runtime=runtime, port=port)
    return bundle(ID, {"formation.afs": text, "app.py": ""})


def events(live: LiveServer, method: str, path: str, content: bytes | None = None) -> list[dict[str, object]]:
    """Carry out an operation, show its steps as they come, and return them; the last is its result."""
    headers = {**live.signed(method, path), "Accept": "text/event-stream"}
    if content is not None:
        headers |= {"Content-Type": "application/gzip", "X-Formation-ID": ID}
    found: list[dict[str, object]] = []
    started = time.monotonic()
    with live.client.stream(method, live.url + path, content=content, headers=headers) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")))
                if "attempt" not in found[-1]:
                    print(f"  {time.monotonic() - started:6.1f} s  {found[-1]}")
    assert "error" not in found[-1], found[-1]
    return found


def chat(live: LiveServer) -> str:
    answer = live.client.post(
        f"{live.url}/api/{ID}/v1/chat", json={"message": "Hello", "stream": False}, headers=CLIENT
    )
    assert answer.status_code == 200, answer.text
    return answer.text


def test_deployed_and_asked(live: LiveServer, model: int) -> None:
    steps = events(live, "POST", "/rpc/formations", packed(model, "1.0.0"))
    assert any(step.get("version") == VERSION for step in steps)
    assert live.get(f"/api/{ID}/v1/health").json()["status"] == "healthy"
    assert ANSWER in chat(live)


def test_a_chat_is_streamed(live: LiveServer) -> None:
    url = f"{live.url}/api/{ID}/v1/chat"
    with live.client.stream("POST", url, json={"message": "Hello"}, headers=CLIENT) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = answer.read().decode()
    assert "event: done" in text
    assert "stand-in" in text


def test_it_speaks_mcp(live: LiveServer) -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-03-26",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    headers = {**CLIENT, "Accept": "application/json, text/event-stream"}
    answer = live.client.post(f"{live.url}/mcp/{ID}", json=call, headers=headers, follow_redirects=True)
    assert answer.status_code == 200, answer.text
    assert "serverInfo" in answer.text
    assert answer.headers["mcp-session-id"]


def test_what_it_writes_is_the_formations(live: LiveServer) -> None:
    home = live.formations / ID
    assert (home / "state" / ".key").is_file()
    assert (home / "state" / "memory.db").is_file()
    assert (home / "current" / ".key").is_symlink()


def test_an_update_and_a_rollback_keep_the_runtime(live: LiveServer, model: int) -> None:
    key = (live.formations / ID / "state" / ".key").read_bytes()
    events(live, "PUT", f"/rpc/formations/{ID}", packed(model, "2.0.0"))
    assert ANSWER in chat(live)
    assert live.formation(ID)["version"]["semantic"] == "2.0.0"  # type: ignore[index]
    assert (live.formations / ID / "current" / ".key").read_bytes() == key
    events(live, "POST", f"/rpc/formations/{ID}/rollback")
    assert ANSWER in chat(live)
    assert _runtimes(live) == {("muxi-python", VERSION)}


def test_a_restart_asks_nobody(live: LiveServer, place: Path) -> None:
    live.terminate()
    # No way to any index, nor an installer.
    nowhere = "http://127.0.0.1:9"
    offline = {"PATH": "/usr/bin:/bin", "HTTPS_PROXY": nowhere, "HTTP_PROXY": nowhere, "MUXI_TELEMETRY": "0"}
    with running(place, **offline) as again:
        again.client.timeout = httpx.Timeout(PATIENCE)
        _wait_until_running(again)  # it was restored with the server
        assert ANSWER in chat(again)
        events(again, "POST", f"/rpc/formations/{ID}/restart")
        assert ANSWER in chat(again)
        assert _runtimes(again) == {("muxi-python", VERSION)}


def _wait_until_running(live: LiveServer) -> None:
    deadline = time.monotonic() + PATIENCE
    while live.formation(ID)["status"] != "running":
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _runtimes(live: LiveServer) -> set[tuple[str, str]]:
    """Return what all kept releases run on, as it is written down with them."""
    kept = json.loads((live.formations / ID / "version.json").read_text())
    releases = [kept["current"], kept["previous"], *kept.get("older", [])]
    return {(release["runtime"]["runtime"], release["runtime"]["version"]) for release in releases}
