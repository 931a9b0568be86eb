from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from muxi.errors import Conflict, FormationFailed
from muxi.formation.view import DevView
from muxi.process.spec import ExitReport
from muxi.process.usage import Usage
from tests.api.harness import NOW, Api, make_api, view

RUNNING = {"formation_id": "my-bot", "port": 8001, "pid": 4711, "version": "1.2.0", "status": "running"}


@pytest.fixture
def api(tmp_path: Path) -> Api:
    api = make_api(tmp_path, view("my-bot"), view("a-bot", "stopped"), view("c-bot", "crashed"))
    api.fleet.results = {
        "start": RUNNING,
        "restart": RUNNING | {"restart_count": 0},
        "stop": {"status": "stopped"},
        "delete": {"status": "deleted"},
    }
    return api


async def test_list_is_sorted_and_counted(api: Api) -> None:
    data = (await api.get("/rpc/formations")).data
    assert [item["id"] for item in data["formations"]] == ["a-bot", "c-bot", "my-bot"]
    assert data["total"] == 3
    assert data["dev_runs"] == []


async def test_directories_that_run_are_listed_apart(api: Api) -> None:
    run = DevView(
        id="my-bot",
        name="My Bot",
        directory=Path("/home/me/bot"),
        watch=True,
        status="running",
        port=8003,
        pid=4712,
        uptime=7,
        restart_count=1,
        healthy=True,
        since=NOW - 7,
    )
    api.dev.views = [run, replace(run, id="other", status="crashed", pid=None)]
    data = (await api.get("/rpc/formations?status=running")).data
    assert [item["id"] for item in data["formations"]] == ["my-bot"]
    assert data["total"] == 1
    assert data["dev_runs"] == [
        {
            "id": "my-bot",
            "name": "My Bot",
            "directory": "/home/me/bot",
            "watch": True,
            "status": "running",
            "port": 8003,
            "pid": 4712,
            "uptime": 7,
            "restart_count": 1,
            "healthy": True,
            "since": "2027-01-15T07:59:53.000Z",
            "reason": None,
        }
    ]
    everything = (await api.get("/rpc/formations")).data["dev_runs"]
    assert [(item["id"], item["pid"]) for item in everything] == [("my-bot", 4712), ("other", 0)]


async def test_an_empty_list_is_a_list(tmp_path: Path) -> None:
    data = (await make_api(tmp_path).get("/rpc/formations")).data
    assert data == {"formations": [], "total": 0, "dev_runs": []}


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("status=running", ["my-bot"]),
        ("status=running,CRASHED", ["c-bot", "my-bot"]),
        ("status=", ["a-bot", "c-bot", "my-bot"]),
        ("status=unhealthy", []),
    ],
)
async def test_list_is_filtered_by_status(api: Api, query: str, ids: list[str]) -> None:
    data = (await api.get(f"/rpc/formations?{query}")).data
    assert [item["id"] for item in data["formations"]] == ids
    assert data["total"] == len(ids)


async def test_a_misspelt_status_is_not_an_empty_list(api: Api) -> None:
    answer = await api.get("/rpc/formations?status=runing")
    assert answer.status == 422
    assert "running" in answer.json["cure"]


async def test_item_has_the_types_that_the_clients_decode(api: Api) -> None:
    for path in ("/rpc/formations/my-bot", "/rpc/formations/a-bot"):
        item = (await api.get(path)).data
        assert set(item["version"]) == {"semantic", "current", "previous"}
        assert all(type(text) is str for text in item["version"].values())
        for name in ("port", "pid", "uptime", "restart_count"):
            assert type(item[name]) is int, name
        assert item["healthy"] in {True, False, None}
        for name in ("created_at", "deployed_at", "updated_at"):
            assert item[name].endswith("Z")
            assert "T" in item[name]


async def test_a_crash_is_told_with_its_reason(tmp_path: Path) -> None:
    report = ExitReport(status=None, signal_number=9, expected=False, at=NOW)
    crashed = view("my-bot", "crashed", last_exit=report, reason="killed by SIGKILL", next_try_at=NOW + 1)
    item = (await make_api(tmp_path, crashed).get("/rpc/formations/my-bot")).data
    assert item["last_exit"] == {
        "status": None,
        "signal": 9,
        "expected": False,
        "oom": False,
        "at": "2027-01-15T08:00:00.000Z",
        "description": "killed by SIGKILL",
    }
    assert item["reason"] == "killed by SIGKILL"
    assert item["next_try_at"] == "2027-01-15T08:00:01.000Z"


async def test_what_a_formation_uses_is_told_with_its_time(tmp_path: Path) -> None:
    used = Usage(processes=3, threads=9, memory=5 << 20, cpu_seconds=1.25, open_files=None, at=NOW - 4)
    api = make_api(tmp_path, view("my-bot", usage=used), view("a-bot", "stopped"))
    expected = {
        "processes": 3,
        "threads": 9,
        "memory": 5242880,
        "cpu_seconds": 1.25,
        "open_files": None,
        "at": "2027-01-15T07:59:56.000Z",
    }
    assert (await api.get("/rpc/formations/my-bot")).data["usage"] == expected
    listed = (await api.get("/rpc/formations")).data["formations"]
    assert [item["usage"] for item in listed] == [None, expected]


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("POST", "/rpc/formations/a-bot/start", "Formation started"),
        ("POST", "/rpc/formations/my-bot/restart", "Formation restarted"),
        ("POST", "/rpc/formations/my-bot/stop", "Formation stopped successfully"),
        ("DELETE", "/rpc/formations/my-bot", "Formation deleted successfully"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"{}", b"not json at all"])
async def test_orders_are_carried_out_whatever_their_body(
    api: Api, method: str, path: str, message: str, body: bytes
) -> None:
    answer = await api.call(method, path, data=body)
    assert answer.status == 200
    assert answer.data["id"] == path.split("/")[3]
    assert answer.data["message"] == message


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/rpc/formations/my-bot/start", 409, "Formation is already running"),
        ("/rpc/formations/a-bot/stop", 409, "Formation is already stopped"),
        ("/rpc/formations/nobody/start", 404, "Formation not found"),
        ("/rpc/formations/nobody/stop", 404, "Formation not found"),
        ("/rpc/formations/nobody/restart", 404, "Formation not found"),
    ],
)
async def test_orders_that_make_no_sense_are_refused(api: Api, path: str, status: int, message: str) -> None:
    for headers in ({}, {"Accept": "text/event-stream"}):  # known before the first event: a plain status
        answer = await api.post(path, **headers)
        assert answer.status == status
        assert answer.json["message"] == message
    assert not api.fleet.operations


async def test_a_conflict_names_the_operation_under_way(api: Api) -> None:
    api.fleet.refusal = Conflict("Another operation is under way", details={"operation_id": "abc"})
    answer = await api.post("/rpc/formations/a-bot/start")
    assert answer.status == 409
    assert answer.json["details"] == {"operation_id": "abc"}


async def test_a_failed_start_says_why(api: Api) -> None:
    details = {"exit": {"status": 3}, "log_tail": ["stderr: no key"]}
    api.fleet.results["start"] = FormationFailed(
        "Formation crashed during startup: exit status 3", stage="health_check", details=details
    )
    answer = await api.post("/rpc/formations/a-bot/start")
    assert answer.status == 400
    assert answer.json["stage"] == "health_check"
    assert answer.json["details"] == details


async def test_stop_and_delete_answer_plainly_to_clients_that_take_events(api: Api) -> None:
    stream = {"Accept": "text/event-stream"}
    assert (await api.call("DELETE", "/rpc/formations/my-bot", headers=stream)).data["status"] == "deleted"
    assert (await api.call("POST", "/rpc/formations/my-bot/stop", headers=stream)).data["status"] == "stopped"
