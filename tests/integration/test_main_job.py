"""The whole life of a formation, as a person with a client sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integration.outside import RECORDER, check_files, deployed, is_gone, recorder, server_events
from tests.live import bundle, manifest, tar_gz

if TYPE_CHECKING:
    from tests.live import LiveServer


def test_from_deploy_to_delete(server: LiveServer) -> None:
    before = server.files()
    answer = server.deploy("job", recorder("job"))
    assert answer.status_code == 201
    made = answer.json()["data"]
    assert (made["id"], made["status"], made["version"]) == ("job", "running", "1.0.0")
    assert made["url"].endswith("/api/job")
    assert server.get("/api/job/anything").json() == {"pid": made["pid"]}

    listed = server.rpc("GET", "/rpc/formations").json()["data"]
    assert [item["id"] for item in listed["formations"]] == ["job"]
    seen = server.formation("job")
    assert (seen["status"], seen["healthy"], seen["port"]) == ("running", True, made["port"])
    status = server.rpc("GET", "/rpc/server/status").json()["data"]
    assert (status["formations"]["running"], status["ports"]["allocated"]) == (1, 1)
    assert server.get("/health").json()["data"]["formations"] == 1

    assert server.rpc("POST", "/rpc/formations/job/stop").status_code == 200
    assert is_gone(made["pid"])
    refused = server.get("/api/job/anything")
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert "is not running (status: stopped)" in refused.json()["message"]
    assert server.formation("job")["pid"] == 0

    started = server.rpc("POST", "/rpc/formations/job/start").json()["data"]
    assert started["port"] == made["port"]
    second = server.get("/api/job/anything").json()["pid"]
    assert server.rpc("POST", "/rpc/formations/job/restart").status_code == 200
    third = server.get("/api/job/anything").json()["pid"]
    assert len({made["pid"], second, third}) == 3
    assert is_gone(second)

    assert server.rpc("DELETE", "/rpc/formations/job").status_code == 200
    assert is_gone(third)
    assert server.get("/api/job/anything").status_code == 404
    assert server.rpc("GET", "/rpc/formations/job").status_code == 404
    assert server.rpc("GET", "/rpc/formations").json()["data"] == {
        "formations": [],
        "total": 0,
        "dev_runs": [],
    }
    assert server.rpc("GET", "/rpc/server/status").json()["data"]["ports"]["allocated"] == 0
    check_files(server, before)


def test_the_end_of_the_log_and_new_lines(server: LiveServer) -> None:
    deployed(server, "talker")
    for word in ("one", "two", "three"):
        server.get(f"/api/talker/say?{word}")
    path = "/rpc/formations/talker/logs"
    assert server.rpc("GET", f"{path}?lines=2").json()["data"]["logs"]["stdout"] == ["two", "three"]
    headers = {**server.signed("GET", path), "Accept": "text/event-stream"}
    with server.client.stream("GET", f"{server.url}{path}?follow=true&lines=1", headers=headers) as response:
        events = server_events(response)
        assert next(events)[0] == "connected"
        assert next(events)[1]["line"] == "three"
        server.get("/api/talker/say?four")
        name, data = next(events)
    assert (name, data["stream"], data["line"]) == ("log", "stdout", "four")
    assert server.rpc("DELETE", "/rpc/formations/talker").status_code == 200


def test_methods_bodies_and_paths_arrive_as_they_were_sent(server: LiveServer) -> None:
    assert server.deploy("plain", bundle("plain")).status_code == 201
    raw = "/api/plain/x%2Fy%3Fz?q=%26"
    assert server.client.get(f"{server.url}{raw}").json() == {"path": "/x%2Fy%3Fz?q=%26"}
    body = bytes(range(256)) * 1000
    assert server.client.post(f"{server.url}/api/plain/echo", content=body).content == body
    assert server.client.get(f"{server.url}/api/plain").json() == {"path": "/"}
    assert server.rpc("DELETE", "/rpc/formations/plain").status_code == 200


def test_a_deploy_of_a_flat_and_of_a_dot_slash_archive(server: LiveServer) -> None:
    files: dict[str, str | bytes] = {"formation.yaml": manifest("shape"), "app.py": RECORDER}
    for prefix in ("", "./", "any-name/"):
        packed = tar_gz({f"{prefix}{name}": content for name, content in files.items()})
        assert server.deploy("shape", packed).status_code == 201
        assert server.rpc("DELETE", "/rpc/formations/shape").status_code == 200
