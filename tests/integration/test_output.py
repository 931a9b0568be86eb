"""What a formation prints, from its process to a client, while it is rotated, replaced and deleted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.outside import until
from tests.live import APP, bundle, running, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live import LiveServer

LINES = 3000
TALKER = (
    APP.replace('print("app started", flush=True)', f"for n in range({LINES}): print('line', n)", 1)
    + "\n# it prints its lines first, then the path of each request\n"
)
LIMITS = "formations:\n  log_max_size: 2K\n  log_max_files: 1000"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("server")
    write_config(directory)
    config = directory / "config" / "config.yaml"
    config.write_text(config.read_text().replace("formations:", LIMITS, 1))
    return directory


@pytest.fixture
def server(directory: Path) -> Iterator[LiveServer]:
    with running(directory) as live:
        yield live


def events(server: LiveServer, formation_id: str) -> Iterator[dict[str, object]]:
    """Follow a formation's stdout; yields the events' data, and ends when the server ends the stream."""
    path = f"/rpc/formations/{formation_id}/logs"
    headers = server.signed("GET", path)
    url = f"{server.url}{path}?follow=true&stream=stdout"
    with server.client.stream("GET", url, headers=headers) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line[6:])


def logs(server: LiveServer, formation_id: str, lines: int) -> list[str]:
    answer = server.rpc("GET", f"/rpc/formations/{formation_id}/logs?lines={lines}&stream=stdout")
    found: list[str] = answer.json()["data"]["logs"]["stdout"]
    return found


def test_output_is_rotated_read_followed_and_removed_as_if_it_were_one_file(server: LiveServer) -> None:
    assert server.deploy("talker", bundle("talker", {"app.py": TALKER})).status_code == 201
    files = server.data / "logs"
    server.get("/api/talker/once")
    until(lambda: len(list(files.glob("talker-out.log.*"))) > 5, "its log is rotated")
    until(lambda: logs(server, "talker", 1) == ["/once"], "all of it is written")
    spoken = [line for line in logs(server, "talker", LINES + 100) if line.startswith("line")]
    assert spoken == [f"line {n}" for n in range(LINES)]

    following = events(server, "talker")
    assert next(following)["type"] == "connected"
    assert server.rpc("POST", "/rpc/formations/talker/restart").status_code == 200
    heard: list[object] = []
    while len(heard) < LINES:
        event = next(following)
        if str(event["line"]).startswith("line"):
            heard.append(event["line"])
            assert event["stream"] == "stdout"
    assert heard == [f"line {n}" for n in range(LINES)]

    assert server.rpc("DELETE", "/rpc/formations/talker").status_code == 200
    last = [event for event in following if event["type"] != "log"]
    assert [(event["type"], event["reason"]) for event in last] == [("end", "deleted")]
    assert list(files.glob("talker*")) == []


def test_a_server_that_starts_again_reads_on_in_rotated_logs(directory: Path) -> None:
    with running(directory) as first:
        assert first.deploy("steady", bundle("steady", {"app.py": TALKER})).status_code == 201
        first.get("/api/steady/first")
        until(lambda: "/first" in logs(first, "steady", 10), "it is printed")
    with running(directory) as second:
        second.wait_until("steady", status="running")
        second.get("/api/steady/second")
        until(lambda: "/second" in logs(second, "steady", 10), "it is printed")
        everything = logs(second, "steady", 10_000)
        assert everything.count("/first") == everything.count("/second") == 1
        assert [line for line in everything if line.startswith("line")] == [
            f"line {n}" for n in range(LINES)
        ] * 2
        assert second.rpc("DELETE", "/rpc/formations/steady").status_code == 200
