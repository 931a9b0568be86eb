"""Anonymous counts of a real server: each number that is reported comes from what has really happened."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.live import LiveServer, bundle, running, write_config
from tests.telemetry.collector import Collector, collecting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ID = "counted"
#: Lets no report be late: it is what is in them that counts here.
PATIENCE = "import muxi.telemetry.reporter as r; r.CLOSE_SECONDS = r.SEND_SECONDS = 30.0"
BROKEN = {"app.py": "raise SystemExit(7)"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


def counting(collector: Collector) -> dict[str, str]:
    return {"DO_NOT_TRACK": "0", "TELEMETRY_URL": collector.url, "MUXI_NO_UPDATE_CHECK": "1"}


def configure(directory: Path, old: str, new: str, more: str = "") -> None:
    """Write the tests' configuration, with one text in it exchanged."""
    write_config(directory, more)
    file = directory / "config" / "config.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def live_through_everything(server: LiveServer) -> None:
    assert server.deploy(ID).status_code == 201
    assert server.deploy("broken", bundle("broken", BROKEN)).status_code >= 400
    pid = server.formation(ID)["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    server.wait_until(ID, restart_count=1, status="running")
    new = bundle(ID, version="1.1.0")
    headers = {"Content-Type": "application/gzip"}
    assert server.rpc("PUT", f"/rpc/formations/{ID}", content=new, headers=headers).status_code == 200
    assert server.rpc("POST", f"/rpc/formations/{ID}/rollback").status_code == 200
    assert server.get(f"/api/{ID}/one").status_code == 200
    assert server.client.put(f"{server.url}/api/{ID}/two").status_code == 501
    assert server.deploy("goes").status_code == 201
    assert server.get("/api/goes/one").status_code == 200
    assert server.rpc("DELETE", "/rpc/formations/goes").status_code == 200


def test_every_number_counts(tmp_path: Path, collector: Collector) -> None:
    with running(tmp_path, code=PATIENCE, **counting(collector)) as server:
        live_through_everything(server)
        standing = server.rpc("GET", "/rpc/server/telemetry").json()["data"]
        assert (standing["enabled"], standing["url"]) == (True, collector.url)
        assert not (tmp_path / ".muxi" / "config.yaml").exists()
        again = server.rpc("GET", "/rpc/server/telemetry").json()["data"]
        assert again["report"]["payload"] == standing["report"]["payload"], "a look changes nothing"
        assert server.terminate() == 0
    [report] = collector.reports
    assert report["payload"]["usage"] == standing["report"]["payload"]["usage"]
    payload = report["payload"]
    assert payload["server"]["starts"] == 1
    assert payload["formations"] == {"active": 0, "deployed": 2, "deleted": 1}
    assert payload["deployments"] == {"successful": 3, "failed": 1, "updates": 1, "rollbacks": 1}
    assert payload["health"]["auto_restarts"] == 1
    assert payload["health"]["crashes"] == 2
    requests = payload["requests"]
    assert (requests["total"], requests["errors_4xx"], requests["errors_5xx"]) == (3, 0, 1)
    assert payload["usage"]["POST /rpc/formations"] == 3
    assert payload["usage"]["DELETE /rpc/formations/{formation_id}"] == 1
    assert payload["resources"]["port_pool_size"] == 60
    assert payload["resources"]["ports_allocated"] == 1
    assert ID not in str(report)
    assert report["machine_id"] in (tmp_path / ".muxi" / "config.yaml").read_text()


def test_failed_checks_count(tmp_path: Path, collector: Collector) -> None:
    app = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if os.path.exists("sick") else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if self.path == "/sicken":
            open("sick", "w").close()
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
    configure(tmp_path, "restart_delay: 100ms", "restart_delay: 100ms\n  health_check_interval: 100ms")
    with running(tmp_path, code=PATIENCE, **counting(collector)) as server:
        assert server.deploy(ID, bundle(ID, {"app.py": app})).status_code == 201
        server.get(f"/api/{ID}/sicken")
        server.wait_until(ID, status="unhealthy")
        assert server.terminate() == 0
    [payload] = collector.payloads()
    assert payload["health"]["health_check_failures"] >= 3


def test_a_server_that_may_not_report_sends_and_writes_nothing(tmp_path: Path, collector: Collector) -> None:
    with running(tmp_path, "telemetry: false", **counting(collector)) as server:
        assert server.deploy(ID).status_code == 201
        standing = server.rpc("GET", "/rpc/server/telemetry").json()["data"]
        assert standing["enabled"] is False
        assert "configuration" in standing["reason"]
        assert server.terminate() == 0
    assert collector.reports == []
    assert not (tmp_path / ".muxi").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_sdks_are_told_of_their_newest_release_by_every_process(
    workers: int, tmp_path: Path, collector: Collector
) -> None:
    collector.texts = {"/muxi-python": "v9.9.9\n"}
    more = f"updates: {{sdk_version_url: '{collector.url}/muxi-{{sdk}}'}}"
    variables = {**counting(collector), "MUXI_NO_UPDATE_CHECK": "", "MUXI_TELEMETRY": "0"}
    configure(tmp_path, "port: 0}", f"port: 0, workers: {workers}}}", more)
    with running(tmp_path, **variables) as server:
        assert server.deploy(ID).status_code == 201
        told: set[str | None] = set()
        for _ in range(200):
            answer = server.get(f"/api/{ID}/", **{"X-Muxi-SDK": "python/1.0.0", "Connection": "close"})
            told.add(answer.headers.get("X-Muxi-SDK-Latest"))
            if "9.9.9" in told and len(collector.asked) >= 12:
                break
        assert told <= {"1.0.0", "9.9.9"}
        assert server.get(f"/api/{ID}/").headers.get("X-Muxi-SDK-Latest") is None
        later = [
            server.get(f"/api/{ID}/", **{"X-Muxi-SDK": "python/1.0.0", "Connection": "close"})
            for _ in range(8)
        ]
        assert {answer.headers["X-Muxi-SDK-Latest"] for answer in later} == {"9.9.9"}
    assert collector.reports == []
