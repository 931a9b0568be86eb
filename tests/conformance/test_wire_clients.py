"""The exact requests of the Go SDK, the CLI and the TypeScript SDK, byte by byte on a socket."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from tests.conformance.bundles import agent_bundle, crashing_bundle
from tests.conformance.callers import CALLERS, CLI, GO, TYPESCRIPT, Caller
from tests.conformance.wire import Answer, Shape, chunked, connect, decode, events, exchange, read_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live import LiveServer

VERSION: Shape = {"semantic": str, "current": str, "previous": str}
ITEM: Shape = {
    "id": str,
    "name": str,
    "version": VERSION,
    "status": str,
    "port": int,
    "pid": int,
    "uptime": int,
    "restart_count": int,
    "healthy": bool,
}
ONE: Shape = {**ITEM, "created_at": str, "deployed_at": str, "updated_at": str}
PORTS: Shape = {"allocated": int, "available": int}
STATUS: Shape = {
    "server": {"server_id": str, "version": str, "uptime": int, "port": int},
    "formations": {"total": int, "running": int, "stopped": int, "healthy": int},
    "ports": {**PORTS, "range": str},
    "runtime": {"type": str, "platform": str, "versions": [str]},
}
HEALTH: Shape = {"status": str, "formations": int, "port_pool": {**PORTS, "total": int}}
DEPLOYED: Shape = {"id": str, "port": int, "version": str, "status": str}
ROLLED_BACK: Shape = {"id": str, "previous_version": str, "current_version": str}
LOGS: Shape = {"formation_id": str, "logs": {"stdout": [str], "stderr": [str]}}
PROGRESS: dict[str, type] = {
    "stage": str,
    "message": str,
    "progress": int,
    "url": str,
    "version": str,
    "attempt": int,
    "max_attempts": int,
    "staging_port": int,
}
COMPLETE: Shape = {"formation_id": str, "port": int, "status": str}
FAILURE: Shape = {"success": bool, "error": str, "message": str, "code": int}
BASE = "/rpc/formations"


@pytest.fixture(scope="module", params=CALLERS, ids=lambda caller: caller.name)
def caller(request: pytest.FixtureRequest) -> Caller:
    chosen: Caller = request.param
    return chosen


@pytest.fixture
def formation(server: LiveServer, caller: Caller) -> Iterator[str]:
    """The agent, deployed by the client's own request."""
    name = f"of-{caller.name}"
    answer = exchange(server.url, deploy_request(server, caller, name, agent_bundle(name)))
    assert answer.status == 201, answer.body
    decode(answer.data, DEPLOYED)
    yield name
    deleted = exchange(server.url, caller.call(server, "DELETE", f"{BASE}/{name}"))
    assert deleted.status == 200, deleted.body
    decode(deleted.data, {"id": str})


def deploy_request(
    server: LiveServer, caller: Caller, name: str, packed: bytes, *, stream: bool = False
) -> bytes:
    if caller is TYPESCRIPT:
        body = json.dumps({"bundle": base64.b64encode(packed).decode()}).encode()
        path = f"{BASE}/{name}/deploy"
        target = caller.streamed(path) if stream else path
        return caller.call(server, "POST", target, stream=stream, body=body)
    more = [
        ("Content-Type", "application/gzip"),
        ("X-Formation-ID", name),
        ("X-Formation-Version", "1.0.0"),
        ("Transfer-Encoding", "chunked"),
    ]
    return caller.call(server, "POST", BASE, stream=stream, body=chunked(packed), more=more)


def call(server: LiveServer, caller: Caller, method: str, target: str, **options: bool) -> Answer:
    return exchange(server.url, caller.call(server, method, target, **options))  # type: ignore[arg-type]


def test_ping(server: LiveServer, caller: Caller) -> None:
    answer = call(server, caller, "GET", "/ping")
    assert (answer.status, answer.body) == (200, b"pong")


def test_ping_of_a_base_url_with_a_slash(server: LiveServer) -> None:
    assert call(server, GO, "GET", "//ping").status == 200


def test_health(server: LiveServer, caller: Caller) -> None:
    answer = call(server, caller, "GET", "/health")
    assert answer.status == 200
    decode(answer.data, HEALTH)
    assert answer.data["status"] == answer.json["status"] == "ok"


def test_status(server: LiveServer, caller: Caller) -> None:
    answer = call(server, caller, "GET", "/rpc/server/status")
    assert answer.status == 200
    decode(answer.data, STATUS)


def test_list_and_get(server: LiveServer, caller: Caller, formation: str) -> None:
    listed = call(server, caller, "GET", BASE)
    assert listed.status == 200
    decode(listed.data, {"formations": [ITEM], "total": int})
    assert formation in [item["id"] for item in listed.data["formations"]]
    got = call(server, caller, "GET", f"{BASE}/{formation}")
    decode(got.data, ONE)
    assert got.data["status"] == "running"


def test_stop_start_restart(server: LiveServer, caller: Caller, formation: str) -> None:
    for action in ("stop", "start", "restart"):
        answer = call(server, caller, "POST", f"{BASE}/{formation}/{action}")
        assert answer.status == 200, answer.body
        decode(answer.data, {"id": str, "status": str})
    stopped = call(server, caller, "POST", f"{BASE}/{formation}/stop")
    assert stopped.data["status"] == "stopped"
    decode(call(server, caller, "GET", f"{BASE}/{formation}").data, ONE)


def test_start_and_restart_step_by_step(server: LiveServer, caller: Caller, formation: str) -> None:
    call(server, caller, "POST", f"{BASE}/{formation}/stop")
    for action in ("start", "restart"):
        target = caller.streamed(f"{BASE}/{formation}/{action}")
        answer = call(server, caller, "POST", target, stream=True)
        assert answer.status == 200
        check_steps(answer)


def test_deploy_step_by_step(server: LiveServer, caller: Caller) -> None:
    name = f"steps-{caller.name}"
    answer = exchange(server.url, deploy_request(server, caller, name, agent_bundle(name), stream=True))
    assert answer.status == 200
    check_steps(answer)
    complete = answer.events[-1][1]
    decode(complete, {"url": str, "health_url": str, "pid": int})
    assert complete["url"].endswith(f"/api/{name}")
    assert call(server, caller, "DELETE", f"{BASE}/{name}").status == 200


def check_steps(answer: Answer) -> None:
    *steps, (name, complete) = answer.events
    assert {name for name, _ in steps} == {"progress"}
    for _, step in steps:
        assert type(step["stage"]) is str
        decode(step, {field: PROGRESS[field] for field in step if field in PROGRESS})
    assert name == "complete"
    assert "stage" not in complete
    decode(complete, COMPLETE)


def test_a_crash_at_start_ends_the_stream(server: LiveServer, caller: Caller) -> None:
    name = f"crash-{caller.name}"
    answer = exchange(server.url, deploy_request(server, caller, name, crashing_bundle(name), stream=True))
    event, error = answer.events[-1]
    assert event == "error"
    decode(error, {"error": str, "message": str, "stage": str})
    assert error["message"].startswith("Formation crashed during startup: ")
    assert call(server, caller, "GET", f"{BASE}/{name}").status == 404


def test_logs(server: LiveServer, caller: Caller, formation: str) -> None:
    queries = {"go": "?lines=5&stream=stdout", "cli": "?lines=100&stream=all", "typescript": "?limit=5"}
    answer = call(server, caller, "GET", f"{BASE}/{formation}/logs{queries[caller.name]}")
    assert answer.status == 200
    shape = {"stdout": [str]} if caller is GO else LOGS["logs"]
    decode(answer.data, {"formation_id": str, "logs": shape})
    assert answer.data["logs"]["stdout"]


@pytest.mark.parametrize("stream", ["", "all", "stdout"])
def test_following_logs(server: LiveServer, caller: Caller, formation: str, stream: str) -> None:
    path = f"{BASE}/{formation}/logs"
    target = f"{path}/stream" if caller is TYPESCRIPT else f"{path}?stream={stream}&follow=true"
    with connect(server.url) as sock, sock.makefile("rb") as lines:
        sock.sendall(caller.call(server, "GET", target, stream=True))
        assert lines.readline().startswith(b"HTTP/1.1 200 ")
        text = (line.decode() for line in unchunked(lines))
        found = (event for event in events(text) if event[0] == "log")
        # Following has begun once its head is here: what is written from now on must come.
        server.get(f"/api/{formation}/v1/marker")
        _, data = next(found)
    decode(data, {"stream": str, "line": str, "time": str})
    assert "/v1/marker" in data["line"]


def unchunked(lines: object) -> Iterator[bytes]:
    """Yield the lines of the chunks of an answer, as they come; its status line has been read."""
    readline, read = lines.readline, lines.read  # type: ignore[attr-defined]
    while readline() != b"\r\n":
        pass
    while size := int(readline(), 16):
        yield from read(size).splitlines(keepends=True)
        assert readline() == b"\r\n"


def test_server_logs(server: LiveServer, caller: Caller) -> None:
    call(server, caller, "GET", "/rpc/server/status")
    target = {"go": "/rpc/server/logs?lines=7", "cli": "/rpc/server/logs"}.get(
        caller.name, "/rpc/server/logs?limit=7"
    )
    answer = call(server, caller, "GET", target)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    for line in answer.body.decode().splitlines():
        assert json.loads(line)["method"]


def test_an_unknown_formation(server: LiveServer, caller: Caller) -> None:
    for method, target in (
        ("GET", f"{BASE}/nobody"),
        ("DELETE", f"{BASE}/nobody"),
        ("POST", f"{BASE}/nobody/stop"),
        ("GET", f"{BASE}/nobody/logs"),
    ):
        check_failure(call(server, caller, method, target), 404, "Formation not found")
    streamed = call(server, caller, "POST", caller.streamed(f"{BASE}/nobody/restart"), stream=True)
    check_failure(streamed, 404, "Formation not found")


def test_a_formation_that_exists(server: LiveServer, caller: Caller, formation: str) -> None:
    message = f"Formation '{formation}' already exists. Use PUT to update."
    for stream in (False, True):
        again = deploy_request(server, caller, formation, agent_bundle(formation), stream=stream)
        check_failure(exchange(server.url, again), 409, message)


def test_not_signed(server: LiveServer, caller: Caller) -> None:
    raw = caller.call(server, "GET", BASE)
    unsigned = b"\r\n".join(line for line in raw.split(b"\r\n") if not line.startswith(b"Authorization"))
    check_failure(exchange(server.url, unsigned), 401, "Missing authorization header")


def update_request(server: LiveServer, caller: Caller, name: str, version: str, *, stream: bool) -> bytes:
    packed = agent_bundle(name, version)
    if caller is TYPESCRIPT:
        body = json.dumps({"bundle": base64.b64encode(packed).decode()}).encode()
        path = f"{BASE}/{name}/update"
        return caller.call(
            server, "POST", caller.streamed(path) if stream else path, stream=stream, body=body
        )
    more = [
        ("Content-Type", "application/gzip"),
        ("X-Formation-Version", version),
        ("Transfer-Encoding", "chunked"),
    ]
    return caller.call(server, "PUT", f"{BASE}/{name}", stream=stream, body=chunked(packed), more=more)


def test_update_and_rollback(server: LiveServer, caller: Caller, formation: str) -> None:
    answer = exchange(server.url, update_request(server, caller, formation, "1.1.0", stream=False))
    assert answer.status == 200, answer.body
    decode(answer.data, DEPLOYED)
    assert answer.data["version"] == "1.1.0"
    same = exchange(server.url, update_request(server, caller, formation, "1.1.0", stream=False))
    check_failure(same, 409, "No changes detected: these files are deployed already.")
    answer = call(server, caller, "POST", f"{BASE}/{formation}/rollback")
    assert answer.status == 200, answer.body
    decode(answer.data, ROLLED_BACK)
    got = call(server, caller, "GET", f"{BASE}/{formation}")
    assert got.data["version"]["semantic"] == "1.0.0"


def test_update_and_rollback_step_by_step(server: LiveServer, caller: Caller, formation: str) -> None:
    updated = exchange(server.url, update_request(server, caller, formation, "1.1.0", stream=True))
    target = caller.streamed(f"{BASE}/{formation}/rollback")
    rolled_back = call(server, caller, "POST", target, stream=True)
    for answer in (updated, rolled_back):
        assert answer.status == 200, answer.body
        *steps, (name, last) = events(answer.body.decode().splitlines(keepends=True))
        for step, data in steps:
            assert step == "progress"
            assert all(type(data[field]) is kind for field, kind in PROGRESS.items() if field in data)
        assert name == "complete"
        decode(last, COMPLETE | {"previous_version": str, "new_version": str})


def test_a_cancel_without_an_update(server: LiveServer, caller: Caller, formation: str) -> None:
    answer = call(server, caller, "POST", f"{BASE}/{formation}/cancel-update")
    check_failure(answer, 400, "No update in progress for this formation")
    unknown = call(server, caller, "POST", f"{BASE}/nobody/cancel-update")
    check_failure(unknown, 404, "Formation not found")


def check_failure(answer: Answer, status: int, message: str) -> None:
    """An error as each client maps it: a status of 400 and more, and a body that Go can decode."""
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    decode(answer.json, FAILURE)
    assert answer.json["success"] is False
    assert answer.json["code"] == status
    assert answer.json["message"] == message


def test_a_kept_connection_serves_both_sides(server: LiveServer, caller: Caller, formation: str) -> None:
    """A client's pool mixes management and proxied requests on one connection."""
    with connect(server.url) as sock:
        for target in (BASE, f"/api/{formation}/v1/health", "/ping", f"{BASE}/{formation}", "/health"):
            sock.sendall(caller.call(server, "GET", target))
            assert read_answer(sock).status == 200


def test_the_go_chat_stream_through_the_proxy(server: LiveServer) -> None:
    name = "go-chat"
    assert exchange(server.url, deploy_request(server, CLI, name, agent_bundle(name))).status == 201
    more = [
        ("Connection", "keep-alive"),
        ("Cache-Control", "no-cache"),
        ("X-MUXI-CLIENT-KEY", "client-key"),
    ]
    body = json.dumps({"message": "fail", "stream": True}).encode()
    raw = GO.call(server, "POST", f"/api/{name}/v1/chat", stream=True, body=body, more=more)
    answer = exchange(server.url, raw)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert b": keepalive\n\n" in answer.body
    headers = exchange(server.url, GO.call(server, "GET", f"/api/{name}/v1/last-headers")).json
    assert headers["cache-control"] == "no-cache"
    assert headers.get("connection") != "keep-alive"
    assert call(server, CLI, "DELETE", f"{BASE}/{name}").status == 200


@pytest.mark.parametrize("stream", [False, True])
def test_errors_of_the_proxy_suit_every_envelope(server: LiveServer, caller: Caller, stream: bool) -> None:
    answer = call(server, caller, "GET", "/api/nobody/v1/health", stream=stream)
    assert answer.status == 404
    decode(answer.json, {"error": {"code": str, "message": str}, "message": str, "code": int})
    assert answer.json["error"]["message"] == answer.json["message"] == "No formation with id 'nobody'"
