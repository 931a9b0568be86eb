"""Limits and usage, seen from outside, whatever holds formations to them on this machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.live import APP, DEADLINE, bundle, running, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live import LiveServer

M = 1024**2
HUNGRY = """
import os, pathlib, threading, time
told = pathlib.Path(os.environ["HOME"], "eat")
def eat():
    while not told.exists():
        time.sleep(0.05)
    told.unlink()
    kept = []
    while True:
        kept.append(bytearray(4 * 1024 * 1024))
threading.Thread(target=eat, daemon=True).start()
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    directory = tmp_path_factory.mktemp("limited")
    write_config(directory)
    config = directory / "config" / "config.yaml"
    settings = "formations:\n  max_memory: 256M\n  usage_interval: 500ms\n"
    config.write_text(config.read_text().replace("formations:\n", settings, 1))
    with running(directory) as live:
        yield live


def wait_for_usage(server: LiveServer, formation_id: str) -> dict[str, float]:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        used = server.formation(formation_id)["usage"]
        if isinstance(used, dict):
            return used
        time.sleep(0.02)
    raise AssertionError("its usage is never told")


def test_more_than_the_server_allows_is_refused_before_anything_runs(limited: LiveServer) -> None:
    answer = limited.deploy("greedy", bundle("greedy", resources={"memory": "1G", "open_files": 64}))
    assert answer.status_code == 400
    assert "1G is more than this server allows, 256M" in answer.text
    assert limited.rpc("GET", "/rpc/formations/greedy").status_code == 404


def test_one_that_runs_out_of_memory_says_so_and_comes_back(limited: LiveServer) -> None:
    content = bundle("hungry", {"app.py": HUNGRY + APP}, resources={"memory": "128M"})
    assert limited.deploy("hungry", content).status_code == 201
    (limited.formations / "hungry" / "state" / "eat").touch()
    found = limited.wait_until("hungry", status="running", restart_count=1)
    last_exit = found["last_exit"]
    assert isinstance(last_exit, dict)
    assert last_exit["oom"] is True
    assert last_exit["description"] == "ran out of memory (limit 128M)"


def test_what_a_formation_uses_is_told(limited: LiveServer) -> None:
    assert limited.deploy("measured", bundle("measured", resources={"open_files": 100})).status_code == 201
    used = wait_for_usage(limited, "measured")
    assert used["processes"] >= 1
    assert used["memory"] > 4 * M


def test_the_server_says_what_is_in_force(limited: LiveServer) -> None:
    limits = limited.rpc("GET", "/rpc/server/status").json()["data"]["limits"]
    assert limits["memory"] in {"cgroup v2", "cgroup v1", "watch"}
    assert limits["open_files"] == "rlimit"
