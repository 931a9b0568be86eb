"""The server ends, in good order or not, and starts again on the same directory."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

from tests.integration.outside import check_files, deployed, processes, recorder, until
from tests.live import running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live import LiveServer

COMMAND = ["python3", "app.py"]


def pid_of(server: LiveServer, formation_id: str) -> int:
    return cast("int", server.formation(formation_id)["pid"])


def test_sigterm_ends_formations_and_the_next_start_brings_them_back(tmp_path: Path, marker: str) -> None:
    with running(tmp_path) as server:
        deployed(server, "runs", command=[*COMMAND, marker])
        deployed(server, "stopped", command=[*COMMAND, marker])
        assert server.rpc("POST", "/rpc/formations/stopped/stop").status_code == 200
        port = server.formation("runs")["port"]
        assert len(processes(marker)) == 1
        assert server.terminate() == 0
        assert processes(marker) == set()
    with running(tmp_path) as server:
        back = server.wait_until("runs", status="running", healthy=True)
        assert (back["port"], back["restart_count"]) == (port, 0)
        assert server.get("/api/runs/x").json() == {"pid": back["pid"]}
        assert server.formation("stopped")["status"] == "stopped"
        assert server.get("/api/stopped/x").status_code == 503
        assert len(processes(marker)) == 1
        assert server.rpc("POST", "/rpc/formations/stopped/start").status_code == 200


def test_after_sigkill_a_formation_goes_on_as_if_nothing_had_happened(tmp_path: Path, marker: str) -> None:
    with running(tmp_path) as server:
        deployed(server, "survivor", command=[*COMMAND, marker])
        before = server.formation("survivor")
        server.process.kill()
        server.process.wait()
    assert processes(marker) == {before["pid"]}
    with running(tmp_path) as server:
        # No waiting: the first request is answered by the very process.
        assert server.get("/api/survivor/x").json() == {"pid": before["pid"]}
        with server.client.stream("GET", f"{server.url}/api/survivor/stream") as proxied:
            assert next(proxied.iter_raw()) == b"data: 1\n\n"
        after = server.formation("survivor")
        assert processes(marker) == {before["pid"]}
        for name in ("pid", "port", "restart_count", "status", "healthy"):
            assert after[name] == before[name]
        assert (before["adopted"], after["adopted"]) == (False, True)
        assert cast("int", after["uptime"]) >= cast("int", before["uptime"])
        # It is supervised as ever; how it ended, its parent alone was told.
        os.kill(pid_of(server, "survivor"), signal.SIGKILL)
        back = server.wait_until("survivor", status="running", restart_count=1)
        assert back["adopted"] is False
        assert "nobody knows how" in str(back["last_exit"]) or "SIGKILL" in str(back["last_exit"])
        assert server.get("/api/survivor/x").json() == {"pid": back["pid"]}
        assert server.rpc("POST", "/rpc/formations/survivor/stop").status_code == 200
    assert processes(marker) == set()


def test_after_two_kills_in_a_row_it_is_still_the_same_process(tmp_path: Path, marker: str) -> None:
    pids: set[int] = set()
    for _ in range(3):
        with running(tmp_path) as server:
            if not pids:
                deployed(server, "survivor", command=[*COMMAND, marker])
            pids.add(cast("int", server.get("/api/survivor/x").json()["pid"]))
            server.process.kill()
            server.process.wait()
        assert processes(marker) == pids
    with running(tmp_path) as server:
        assert server.terminate() == 0
    assert processes(marker) == set()


def test_one_that_hangs_is_adopted_and_then_restarted(tmp_path: Path, marker: str) -> None:
    """The server is killed, and while there is none, the formation stops to answer."""
    with running(tmp_path) as server:
        health = {"liveness": {"threshold": 1}, "readiness": {"interval": "200ms", "timeout": "200ms"}}
        deployed(server, "hangs", command=[*COMMAND, marker], health=health)
        pid = pid_of(server, "hangs")
        server.process.kill()
        server.process.wait()
    os.kill(pid, signal.SIGSTOP)
    with running(tmp_path) as server:
        back = server.wait_until("hangs", status="running", restart_count=1)
        assert back["pid"] != pid
        assert server.get("/api/hangs/x").json() == {"pid": back["pid"]}


def test_sigkill_during_a_deploy_leaves_nothing(tmp_path: Path, marker: str) -> None:
    gate = {"GATE": str(tmp_path / "gate")}
    with running(tmp_path) as server, ThreadPoolExecutor() as pool:
        before = server.files()
        packed = recorder("half", command=[*COMMAND, marker], env=gate)
        half = pool.submit(server.deploy, "half", packed)
        until(lambda: len(processes(marker)) == 1, "the process is started")
        server.process.kill()
        server.process.wait()
        assert half.exception() is not None
    with running(tmp_path) as server:
        until(lambda: server.rpc("GET", "/rpc/formations/half").status_code == 404, "it is cleared away")
        until(lambda: processes(marker) == set(), "its process is ended")
        check_files(server, before)
        assert server.rpc("GET", "/rpc/server/status").json()["data"]["ports"]["allocated"] == 0
        deployed(server, "half")


def test_a_half_written_registry_is_swept_away(tmp_path: Path) -> None:
    leftover = tmp_path / "data" / ".registry.json.0badcafe.tmp"
    with running(tmp_path) as server:
        deployed(server, "kept")
    leftover.write_text('{"version": 1, "formati')
    with running(tmp_path) as server:
        assert not leftover.exists()
        server.wait_until("kept", status="running")


def test_sigterm_during_a_deploy_leaves_nothing(tmp_path: Path, marker: str) -> None:
    gate = {"GATE": str(tmp_path / "gate")}
    with running(tmp_path) as server, ThreadPoolExecutor() as pool:
        before = server.files()
        packed = recorder("half", command=[*COMMAND, marker], env=gate)
        half = pool.submit(server.deploy, "half", packed)
        until(lambda: len(processes(marker)) == 1, "the process is started")
        assert server.terminate() == 0
        assert processes(marker) == set()
        answer = half.result()
        assert answer.status_code == 503
        assert answer.reason_phrase == "Service Unavailable"
        assert answer.json()["error_code"] == "ShuttingDown"
    check_files(server, before)
    with running(tmp_path) as server:
        assert server.rpc("GET", "/rpc/formations/half").status_code == 404


def test_an_open_stream_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        deployed(server, "streams")
        path = "/rpc/formations/streams/logs"
        with (
            server.client.stream("GET", f"{server.url}/api/streams/stream") as proxied,
            server.client.stream("GET", f"{server.url}{path}/stream", headers=signed(server, path)) as logs,
        ):
            assert next(proxied.iter_raw()) == b"data: 1\n\n"
            assert next(logs.iter_raw()).startswith(b"event: connected")
            assert server.terminate() == 0


def signed(server: LiveServer, path: str) -> dict[str, str]:
    return {**server.signed("GET", f"{path}/stream"), "Accept": "text/event-stream"}


def test_sigint_is_as_good_as_sigterm(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(60) == 0
