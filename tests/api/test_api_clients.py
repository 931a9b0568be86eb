"""The requests of the real clients, header by header, and what they need in the answers."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.api.harness import BUNDLE, Api, make_api, view

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = {
    "Content-Type": "application/json",
    "Accept": "*/*",
    "X-Muxi-SDK": "python/1.20260713.0",
    "X-Muxi-Client": "linux-x86_64/py3.11.7",
    "X-Muxi-Idempotency-Key": "0b4cb2a4-54a4-4b1a-8f6f-3f2d9d3b8a10",
    "Accept-Encoding": "gzip, deflate",
}
TYPESCRIPT = PYTHON | {"X-Muxi-SDK": "typescript/0.20260514.0", "X-Muxi-Client": "node-v20.11.0"}
GO = {"X-Muxi-SDK": "go/0.20260514.0", "X-Muxi-Client": "linux-amd64/go1.19", "Accept-Encoding": "gzip"}
CLI = {"X-Muxi-SDK": "cli/0.20260514.0", "Accept-Encoding": "gzip"}
SSE = {"Accept": "text/event-stream"}
UPLOAD = {"Content-Type": "application/gzip", "X-Formation-ID": "new-bot", "X-Formation-Version": "1.0.0"}
JSON_BUNDLE = json.dumps({"bundle": base64.b64encode(BUNDLE).decode()}).encode()
NEW_VERSION = {"Content-Type": "application/gzip", "X-Formation-Version": "1.1.0"}
RELEASED = ("id", "port", "version", "status", "previous_version", "current_version")
ONE = "/rpc/formations/a-bot"


@dataclass(frozen=True)
class Call:
    name: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    status: int = 200
    events: bool = False
    signed: bool = True
    fields: tuple[str, ...] = field(default=())


CALLS = [
    *[
        call
        for sdk, headers in (("python", PYTHON), ("typescript", TYPESCRIPT))
        for call in (
            Call(f"{sdk} ping", "GET", "/ping", headers),
            Call(f"{sdk} health", "GET", "/health", headers),
            Call(
                f"{sdk} status",
                "GET",
                "/rpc/server/status",
                headers,
                fields=("server", "formations", "ports"),
            ),
            Call(f"{sdk} list", "GET", "/rpc/formations", headers, fields=("formations", "total")),
            Call(f"{sdk} get", "GET", ONE, headers, fields=("id", "status", "version")),
            Call(f"{sdk} deploy", "POST", "/rpc/formations/new-bot/deploy", headers, JSON_BUNDLE, 201),
            Call(
                f"{sdk} deploy streamed",
                "POST",
                "/rpc/formations/new-bot/deploy/stream",
                headers | SSE,
                JSON_BUNDLE,
                events=True,
            ),
            Call(f"{sdk} start", "POST", f"{ONE}/start", headers, b"{}", fields=("id", "status", "port")),
            Call(f"{sdk} start streamed", "POST", f"{ONE}/start/stream", headers | SSE, b"{}", events=True),
            Call(f"{sdk} restart", "POST", f"{ONE}/restart", headers, b"{}"),
            Call(
                f"{sdk} restart streamed", "POST", f"{ONE}/restart/stream", headers | SSE, b"{}", events=True
            ),
            Call(
                f"{sdk} stop", "POST", "/rpc/formations/my-bot/stop", headers, b"{}", fields=("id", "status")
            ),
            Call(f"{sdk} delete", "DELETE", ONE, headers, fields=("id", "message")),
            Call(f"{sdk} logs", "GET", f"{ONE}/logs?limit=5", headers, fields=("formation_id", "logs")),
            Call(f"{sdk} server logs", "GET", "/rpc/server/logs?limit=5", headers),
            Call(f"{sdk} update", "POST", f"{ONE}/update", headers, JSON_BUNDLE, fields=RELEASED),
            Call(
                f"{sdk} update streamed",
                "POST",
                f"{ONE}/update/stream",
                headers | SSE,
                JSON_BUNDLE,
                events=True,
            ),
            Call(f"{sdk} rollback", "POST", f"{ONE}/rollback", headers, b"{}", fields=RELEASED),
            Call(
                f"{sdk} rollback streamed",
                "POST",
                f"{ONE}/rollback/stream",
                headers | SSE,
                b"{}",
                events=True,
            ),
            Call(f"{sdk} cancel", "POST", f"{ONE}/cancel-update", headers, b"{}", 400),
        )
    ],
    *[
        call
        for sdk, headers in (("go", GO), ("cli", CLI))
        for call in (
            Call(f"{sdk} ping", "GET", "/ping", headers, signed=False),
            Call(f"{sdk} health", "GET", "/health", headers, signed=False),
            Call(f"{sdk} status", "GET", "/rpc/server/status", headers, fields=("server", "runtime")),
            Call(f"{sdk} list", "GET", "/rpc/formations", headers, fields=("formations", "total")),
            Call(f"{sdk} get", "GET", ONE, headers, fields=("healthy", "deployed_at", "updated_at")),
            Call(
                f"{sdk} deploy",
                "POST",
                "/rpc/formations",
                headers | UPLOAD,
                BUNDLE,
                201,
                fields=("id", "port", "version", "status"),
            ),
            Call(
                f"{sdk} deploy streamed",
                "POST",
                "/rpc/formations",
                headers | UPLOAD | SSE,
                BUNDLE,
                events=True,
            ),
            Call(f"{sdk} update", "PUT", ONE, headers | NEW_VERSION, BUNDLE, fields=RELEASED),
            Call(f"{sdk} update streamed", "PUT", ONE, headers | NEW_VERSION | SSE, BUNDLE, events=True),
            Call(f"{sdk} rollback", "POST", f"{ONE}/rollback", headers, fields=RELEASED),
            Call(f"{sdk} rollback streamed", "POST", f"{ONE}/rollback", headers | SSE, events=True),
            Call(f"{sdk} cancel", "POST", f"{ONE}/cancel-update", headers, status=400),
            Call(f"{sdk} start", "POST", f"{ONE}/start", headers | {"Content-Length": "0"}),
            Call(f"{sdk} start streamed", "POST", f"{ONE}/start", headers | SSE, events=True),
            Call(f"{sdk} restart streamed", "POST", f"{ONE}/restart", headers | SSE, events=True),
            Call(f"{sdk} stop", "POST", "/rpc/formations/my-bot/stop", headers),
            Call(f"{sdk} delete", "DELETE", ONE, headers),
            Call(f"{sdk} logs", "GET", f"{ONE}/logs?lines=100&stream=all", headers, fields=("logs",)),
            Call(f"{sdk} server logs", "GET", "/rpc/server/logs?lines=5", headers),
        )
    ],
    Call("cli run", "POST", "/rpc/dev/run", CLI, b'{"path":"/home/me/bot"}', 403),
    Call("cli stop", "POST", "/rpc/dev/stop", CLI, b'{"formation_id":"x"}', 403),
]


@pytest.fixture
def api(tmp_path: Path) -> Api:
    api = make_api(tmp_path, view("my-bot"), view("a-bot", "stopped"))
    running = {"port": 8001, "version": "1.0.0", "status": "running"}
    api.fleet.results = {"deploy": running, "start": running, "restart": running, "delete": {}}
    released = running | {"previous_version": "1", "current_version": "2", "new_version": "2"}
    api.fleet.results |= {"update": released, "rollback": released}
    api.fleet.results["stop"] = {"status": "stopped"}
    return api


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
async def test_call(api: Api, call: Call) -> None:
    answer = await api.call(call.method, call.path, headers=call.headers, data=call.body, signed=call.signed)
    assert answer.status == call.status
    if call.events:
        name, data = answer.events[-1]
        assert name == data["type"] == "complete"
        assert "stage" not in data  # TypeScript tells complete from progress by it
        assert type(data["port"]) is int
        assert data["formation_id"] in call.path + call.headers.get("X-Formation-ID", "")
    elif call.path == "/ping" or call.path.startswith("/rpc/server/logs"):
        assert answer.headers["content-type"].startswith("text/plain")
    elif call.status < 400:
        assert answer.json["success"] is True  # Go: not true is an error, even with 200
        assert set(call.fields) <= set(answer.data)
    else:
        assert type(answer.json["error"]) is str
        assert type(answer.json["code"]) is int


async def test_deploy_version_is_a_text_and_a_formations_is_an_object(api: Api) -> None:
    deployed = await api.post("/rpc/formations", BUNDLE, **GO, **UPLOAD)
    assert type(deployed.data["version"]) is str
    assert type((await api.get(ONE, **GO)).data["version"]) is dict
