"""What is under way when a formation is stopped or restarted, and when the server ends."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.integration.outside import deployed, server_events, until
from tests.live import running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live import LiveServer


def test_a_stop_waits_for_the_stream_that_is_open_and_shows_it(server: LiveServer) -> None:
    deployed(server, "patient")
    with ThreadPoolExecutor() as pool:
        with server.client.stream("GET", f"{server.url}/api/patient/stream") as answer:
            pieces = answer.iter_raw()
            assert next(pieces) == b"data: 1\n\n"
            stop = pool.submit(server.rpc, "POST", "/rpc/formations/patient/stop")
            until(lambda: server.formation("patient")["drain"] is not None, "the drain shows")
            found = server.formation("patient")
            drain = found["drain"]
            assert isinstance(drain, dict)
            assert (drain["in_flight"], drain["streams"], drain["tunnels"]) == (1, 1, 0)
            assert found["status"] == "stopping"
            assert found["pid"] != 0
            assert server.get("/api/patient/x").status_code == 503
        assert stop.result().status_code == 200
    found = server.formation("patient")
    assert (found["status"], found["drain"]) == ("stopped", None)
    assert server.rpc("DELETE", "/rpc/formations/patient").status_code == 200


def test_a_stream_that_does_not_end_is_cut_after_the_budget(tmp_path: Path) -> None:
    with running(tmp_path, "proxy: {hold_timeout: 1s}") as server:
        path = tmp_path / "config" / "config.yaml"
        path.write_text(path.read_text().replace("restart_delay:", "drain_timeout: 200ms\n  restart_delay:"))
        server.terminate()
    with running(tmp_path) as server:
        deployed(server, "endless")
        with server.client.stream("GET", f"{server.url}/api/endless/stream") as answer:
            pieces = answer.iter_raw()
            assert next(pieces) == b"data: 1\n\n"
            assert server.rpc("POST", "/rpc/formations/endless/stop").status_code == 200
            with pytest.raises(httpx.HTTPError):
                next(pieces)


def test_nobody_notices_a_restart_but_by_waiting(server: LiveServer) -> None:
    deployed(server, "constant")
    over = threading.Event()
    failed: list[str] = []
    pids: set[int] = set()

    def call(number: int) -> None:
        with httpx.Client(timeout=60, trust_env=False) as client:
            while not over.is_set():
                if number % 2:
                    answer = client.get(f"{server.url}/api/constant/x")
                    pids.add(answer.json().get("pid"))
                else:
                    answer = client.post(f"{server.url}/api/constant/x", content=b"x" * 1000)
                if answer.status_code != 200:
                    failed.append(answer.text)

    with ThreadPoolExecutor(8) as pool:
        callers = [pool.submit(call, number) for number in range(8)]
        try:
            until(lambda: len(pids) == 1, "the first process answers")
            for _ in range(3):
                seen = len(pids)
                assert server.rpc("POST", "/rpc/formations/constant/restart").status_code == 200
                until(lambda seen=seen: len(pids) > seen, "the new process answers")  # type: ignore[misc]
        finally:
            over.set()
        for caller in callers:
            caller.result()
    assert failed == []
    assert len(pids) == 4


def test_who_follows_a_log_sees_a_whole_answer_when_the_server_ends(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        deployed(server, "followed")
        path = "/rpc/formations/followed/logs/stream"
        headers = server.signed("GET", path)
        with server.client.stream("GET", f"{server.url}{path}", headers=headers) as answer:
            events = server_events(answer)
            assert next(events)[0] == "connected"
            server.process.terminate()
            assert [name for name, _ in events if name != "log"] == []
        assert server.process.wait(30) == 0
        assert not any(entry.get("event") == "connections cut" for entry in server.log)
