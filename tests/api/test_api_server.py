from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.api.parameters import MOST_LINES, STREAMS, line_count, wanted_streams
from tests.api.harness import Api, make_api, view

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return make_api(tmp_path, view("my-bot"), view("a-bot", "stopped"))


async def test_health_says_ok_wherever_a_client_looks(api: Api) -> None:
    answer = await api.call("GET", "/health", signed=False)
    assert answer.status == 200
    assert answer.json["status"] == "ok"
    assert answer.json["version"] == "1.0.0"
    data = answer.data
    assert data["status"] == data["server"]["status"] == "ok"
    assert data["formations"] == 2
    assert data["port_pool"]["total"] == 1000
    assert data["port_pool"]["allocated"] == 2
    assert data["port_pool"]["available"] == 998
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_health_says_since_when(api: Api) -> None:
    assert (await api.call("GET", "/health", signed=False)).data["uptime"] == 3600


async def test_a_living_server_says_so(api: Api) -> None:
    answer = await api.call("GET", "/livez", signed=False)
    assert (answer.status, answer.body) == (200, b"ok")


async def test_a_server_is_not_ready_while_there_is_a_reason(api: Api) -> None:
    answer = await api.call("GET", "/readyz", signed=False)
    assert (answer.status, answer.body) == (200, b"ok")
    api.app.parts.unready = lambda: "2 of 3 formations are still to come back"
    answer = await api.call("GET", "/readyz", signed=False)
    assert (answer.status, answer.body) == (503, b"2 of 3 formations are still to come back")
    assert answer.headers["cache-control"] == "no-store"
    assert (await api.call("GET", "/livez", signed=False)).status == 200


async def test_ping_is_text(api: Api) -> None:
    answer = await api.call("GET", "/ping", signed=False)
    assert answer.status == 200
    assert answer.body == b"pong"
    assert answer.headers["content-type"].startswith("text/plain")


async def test_ping_of_a_base_url_with_a_slash_at_its_end(api: Api) -> None:
    assert (await api.call("GET", "//ping", signed=False)).body == b"pong"


async def test_docs_are_elsewhere(api: Api) -> None:
    answer = await api.call("GET", "/docs", signed=False)
    assert (answer.status, answer.headers["location"]) == (302, "https://muxi.org/docs")


async def test_status_says_which_limits_are_in_force(tmp_path: Path) -> None:
    in_force = {"memory": "watch", "cpu": "none", "note": "cgroup v2: Read-only file system"}
    api = make_api(tmp_path, in_force=in_force)
    assert (await api.get("/rpc/server/status")).data["limits"] == in_force


async def test_status_is_a_superset_for_all_clients(api: Api) -> None:
    data = (await api.get("/rpc/server/status")).data
    assert data["server"].pop("memory") > 1_000_000
    assert data["server"] == {
        "id": "server-test-00000000",
        "server_id": "server-test-00000000",
        "version": "1.0.0",
        "uptime": 3600,
        "port": 7890,
    }
    assert data["formations"] == {"total": 2, "running": 1, "stopped": 1, "crashed": 0, "healthy": 1}
    assert data["ports"] == {"total": 1000, "allocated": 2, "available": 998, "range": "8000-8999"}
    assert data["port_pool"] == data["ports"]
    assert data["runtime"]["type"] == "native"
    assert all(type(version) is str for version in data["runtime"]["versions"])
    assert data["runtime"]["platform"]


async def test_server_logs_are_the_end_of_the_audit_log_as_text(api: Api) -> None:
    assert (await api.get("/rpc/server/logs")).body == b""
    api.audit.path.parent.mkdir()
    api.audit.path.write_text("".join(f'{{"n":{n}}}\n' for n in range(300)))
    for query, count in [
        ("", 100),
        ("?lines=7", 7),
        ("?limit=8", 8),
        ("?lines=x", 100),
        ("?lines=99999", 300),
    ]:
        answer = await api.get(f"/rpc/server/logs{query}")
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        lines = answer.body.decode().splitlines()
        assert len(lines) == count
        assert lines[-1] == '{"n":299}'


@pytest.mark.parametrize(
    ("args", "count"),
    [
        ({}, 100),
        ({"lines": "5"}, 5),
        ({"limit": "5"}, 5),
        ({"lines": "5", "limit": "6"}, 5),
        ({"lines": "0"}, 100),
        ({"lines": "-5"}, 100),
        ({"lines": "5.5"}, 100),
        ({"lines": "10001"}, MOST_LINES),
        ({"lines": "\uff19"}, 100),
        ({"lines": "9" * 5000}, 100),
    ],
)
def test_line_count(args: dict[str, str], count: int) -> None:
    assert line_count(args) == count


@given(st.text(), st.text())
def test_any_text_gives_a_sane_line_count(lines: str, limit: str) -> None:
    assert 1 <= line_count({"lines": lines, "limit": limit}) <= MOST_LINES


@pytest.mark.parametrize(
    ("text", "streams"),
    [
        ("", STREAMS),
        ("all", STREAMS),
        ("all,stdout,stderr", STREAMS),
        ("stdout", ("stdout",)),
        ("stderr,stdout", STREAMS),
        ("stdout, all", STREAMS),
        ("nonsense", STREAMS),
    ],
)
def test_wanted_streams(text: str, streams: tuple[str, ...]) -> None:
    assert wanted_streams({"stream": text}) == streams
