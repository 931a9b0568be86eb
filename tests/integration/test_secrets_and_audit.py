"""Every management request is written down; nothing secret is, anywhere."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.conformance.wire import exchange
from tests.integration.outside import audit_lines, deployed, recorder, until
from tests.live import OLD_SECRET, SECRET, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live import LiveServer

CANARY = "canary-7b1f2d90c3"


def seen(server: LiveServer, request_id: str) -> dict[str, object]:
    """Return the audit line of a request, once it is written."""
    found: list[dict[str, object]] = []

    def look() -> bool:
        found[:] = [line for line in audit_lines(server) if line["request_id"] == request_id]
        return bool(found)

    until(look, f"an audit line of {request_id}")
    assert len(found) == 1
    return found[0]


def test_every_request_is_there(server: LiveServer) -> None:
    deployed(server, "audited")
    expected = {
        "list": ("GET", "/rpc/formations", "/rpc/formations", None, 200),
        "get": ("GET", "/rpc/formations/audited", "/rpc/formations/{formation_id}", "audited", 200),
        "none": ("GET", "/rpc/formations/nobody", "/rpc/formations/{formation_id}", "nobody", 404),
        "twice": (
            "POST",
            "/rpc/formations/audited/start",
            "/rpc/formations/{formation_id}/start",
            "audited",
            409,
        ),
        "nothing to go back to": (
            "POST",
            "/rpc/formations/audited/rollback",
            "/rpc/formations/{formation_id}/rollback",
            "audited",
            400,
        ),
        "wrong": ("GET", "/rpc/nothing/here", None, None, 404),
        "method": ("DELETE", "/rpc/server/status", None, None, 405),
    }
    for request_id, (method, path, route, formation, status) in expected.items():
        answer = server.rpc(method, path, headers={"X-Request-ID": request_id})
        assert answer.status_code == status
        assert answer.headers["x-request-id"] == request_id
        line = seen(server, request_id)
        assert (line["method"], line["route"], line["formation"]) == (method, route, formation)
        assert (line["status"], line["address"]) == (status, "127.0.0.1")
        if route is not None:
            assert line["key_id"] == server.key


def test_refused_requests_are_there_too(server: LiveServer) -> None:
    signed = server.signed("GET", "/rpc/formations")["Authorization"]
    attempts = {
        "no-header": {},
        "nonsense": {"Authorization": f"Bearer {CANARY}"},
        "other-path": {"Authorization": server.signed("GET", "/rpc/server/status")["Authorization"]},
        "bad-signature": {"Authorization": signed[:-8] + "AAAAAAA="},
    }
    for request_id, headers in attempts.items():
        answer = server.get("/rpc/formations", **{**headers, "X-Request-ID": request_id})
        assert answer.status_code == 401
        line = seen(server, request_id)
        assert line["status"] == 401
        assert line["key_id"] in {None, server.key}


def test_a_streamed_failure_is_written_down_as_one(server: LiveServer) -> None:
    answer = server.deploy(
        "broken", b"no tar at all", Accept="text/event-stream", **{"X-Request-ID": "streamed"}
    )
    assert answer.status_code == 200
    assert "event: error" in answer.text
    line = seen(server, "streamed")
    assert (line["status"], line["outcome"]) == (400, "error: ExtractError")
    assert line["operation_id"]


def test_a_canary_sings_nowhere(tmp_path: Path) -> None:
    """A secret goes in by every door; nothing that the server writes or says holds it."""
    answers: list[bytes] = []
    with running(tmp_path, CANARY_OF_THE_SERVER=CANARY) as server:
        packed = recorder("caged", env={"API_KEY": CANARY})
        answers.append(server.deploy("caged", packed).content)
        answers += [sent(server, *attempt) for attempt in doors(server)]
        for path in ("/rpc/formations", "/rpc/formations/caged", "/rpc/server/status", "/rpc/server/logs"):
            answers.append(server.rpc("GET", path).content)
        until(lambda: len(audit_lines(server)) >= len(answers) - 4, "the audit log is written")
        answers.append(server.rpc("GET", "/rpc/server/logs?lines=10000").content)
        listing = subprocess.run(["ps", "-axww", "-o", "args="], capture_output=True, check=True).stdout
        assert server.terminate() == 0
    assert CANARY.encode() not in listing
    assert CANARY.encode() not in b"".join(answers)
    assert CANARY not in str(server.log)
    assert written(server, CANARY) == {"data/formations/caged/releases/1/formation.afs"}
    for secret in (SECRET, OLD_SECRET):
        assert secret not in str(server.log)
        assert secret.encode() not in b"".join(answers)
        assert written(server, secret) == {"config/config.yaml"}
    for private in ("config/config.yaml", "data/registry.json", "data/logs/audit.log"):
        assert (tmp_path / private).stat().st_mode & 0o077 == 0, private


def doors(server: LiveServer) -> list[tuple[str, str, dict[str, str]]]:
    """Ways by which a secret comes in with a request: method, target, headers."""
    good = server.signed("GET", "/rpc/formations")
    signed = good["Authorization"]
    return [
        ("GET", f"/rpc/formations?token={CANARY}", good),
        ("GET", "/rpc/formations", {**good, "X-Api-Key": CANARY, "Cookie": f"session={CANARY}"}),
        ("GET", "/rpc/formations", {"Authorization": f"Bearer {CANARY}"}),
        ("GET", "/rpc/formations", {"Authorization": f"MUXI-HMAC {CANARY}"}),
        ("GET", "/rpc/formations", {"Authorization": f"MUXI-HMAC key={CANARY}, timestamp=1, signature=x"}),
        (
            "GET",
            "/rpc/formations",
            {"Authorization": signed.partition("signature=")[0] + f"signature={CANARY}"},
        ),
        ("GET", "/rpc/formations", {"Authorization": signed.replace("timestamp=", f"timestamp={CANARY}")}),
        ("POST", f"/rpc/formations/caged/start?key={CANARY}", server.signed("POST", START)),
        ("GET", f"/rpc/{CANARY}", {"Authorization": f"MUXI-HMAC {CANARY}"}),
        ("GET", f"/api/caged/x?key={CANARY}", {"X-MUXI-CLIENT-KEY": CANARY, "Authorization": CANARY}),
        ("GET", f"/api/caged/{CANARY}", {}),
        ("GET", f"/health?key={CANARY}", {"Authorization": CANARY}),
        ("BREW", f"/pot/{CANARY}", {"X-Secret": CANARY}),
        ("GET", f"/nowhere/{CANARY}", {}),
        (CANARY, "/rpc/formations", {}),
    ]


START = "/rpc/formations/caged/start"


def sent(server: LiveServer, method: str, target: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return exchange(server.url, "\r\n".join(lines).encode() + b"\r\n\r\n").body


def written(server: LiveServer, secret: str) -> set[str]:
    """Name the files below the server's directory that hold this text."""
    root = server.directory
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)) for path in files if secret.encode() in path.read_bytes()}
