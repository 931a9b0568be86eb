"""A whole server with `server.workers: 2`: one process that manages and proxies, one that proxies."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.integration.outside import configure, deployed, is_gone, muxi, until
from tests.live import running
from tests.program import muxi_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live import LiveServer

WORKERS = {"server": {"workers": 2}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    directory = tmp_path_factory.mktemp("workers")
    configure(directory, WORKERS)
    with running(directory) as live:
        worker(live)
        yield live


def proxy_status(server: LiveServer) -> dict[str, Any]:
    found: dict[str, Any] = server.rpc("GET", "/rpc/server/status").json()["data"]["proxy"]
    return found


def worker(server: LiveServer, before: int = 0) -> int:
    """Wait until the one worker serves that is not the one before; give its pid."""
    pids: list[int] = []

    def serves() -> bool:
        pids[:] = [row["pid"] for row in proxy_status(server)["workers"] if row["ready"]]
        return bool(pids) and pids[0] != before

    until(serves, "the worker serves")
    return pids[0]


def through_both(server: LiveServer, path: str) -> list[httpx.Response]:
    """Ask on connections of which each process has some."""
    clients = [httpx.Client(timeout=60, trust_env=False) for _ in range(6)]
    try:
        answers = [client.get(server.url + path) for client in clients]
        return answers + [client.get(server.url + path) for client in clients]
    finally:
        for client in clients:
            client.close()


def statuses(server: LiveServer, path: str) -> set[int]:
    return {answer.status_code for answer in through_both(server, path)}


def test_what_has_been_answered_holds_in_all_processes(server: LiveServer) -> None:
    for _ in range(3):
        deployed(server, "switched")
        assert statuses(server, "/api/switched/x") == {200}
        pid = through_both(server, "/api/switched/x")[0].json()["pid"]
        assert server.rpc("POST", "/rpc/formations/switched/restart").status_code == 200
        found = {answer.json()["pid"] for answer in through_both(server, "/api/switched/x")}
        assert len(found) == 1
        assert pid not in found
        assert server.rpc("POST", "/rpc/formations/switched/stop").status_code == 200
        assert statuses(server, "/api/switched/x") == {503}
        assert server.rpc("POST", "/rpc/formations/switched/start").status_code == 200
        assert statuses(server, "/api/switched/x") == {200}
        assert server.rpc("DELETE", "/rpc/formations/switched").status_code == 200
        assert statuses(server, "/api/switched/x") == {404}


def test_a_stop_waits_for_streams_in_all_processes_and_shows_them(server: LiveServer) -> None:
    deployed(server, "patient")
    clients = [httpx.Client(timeout=60, trust_env=False) for _ in range(4)]
    streams = [client.stream("GET", f"{server.url}/api/patient/stream") for client in clients]
    pieces = [stream.__enter__().iter_raw() for stream in streams]  # Each ends its stream when it goes.
    assert [next(piece) for piece in pieces] == [b"data: 1\n\n"] * 4
    until(lambda: bool(proxy_status(server)["workers"][0]["connections"]), "the worker has some")
    with ThreadPoolExecutor() as pool:
        stop = pool.submit(server.rpc, "POST", "/rpc/formations/patient/stop")

        def drains() -> bool:
            drain: Any = server.formation("patient")["drain"]
            return drain is not None and (drain["in_flight"], drain["streams"]) == (4, 4)

        until(drains, "the drain shows all streams")
        for client in clients:
            client.close()
        assert stop.result().status_code == 200
    assert server.formation("patient")["status"] == "stopped"


def test_nothing_is_lost_at_restarts_under_load(server: LiveServer) -> None:
    deployed(server, "busy")
    over, failed, count = threading.Event(), list[str](), [0]

    def call() -> None:
        with httpx.Client(timeout=60, trust_env=False) as client:
            while not over.is_set():
                answer = client.get(f"{server.url}/api/busy/x")
                count[0] += 1
                if answer.status_code != 200:
                    failed.append(answer.text)

    with ThreadPoolExecutor(6) as pool:
        callers = [pool.submit(call) for _ in range(6)]
        try:
            for _ in range(3):
                seen = count[0]
                until(lambda: count[0] > seen + 20, "they are served")  # noqa: B023 - called at once
                assert server.rpc("POST", "/rpc/formations/busy/restart").status_code == 200
        finally:
            over.set()
        for caller in callers:
            caller.result()
    assert failed == []


def test_what_is_counted_is_the_sum(server: LiveServer) -> None:
    deployed(server, "counted")
    before = proxy_status(server)["workers"][0]["requests_total"]
    assert len(through_both(server, "/api/counted/x")) == 12

    def counted() -> bool:
        traffic: Any = server.formation("counted")["traffic"]
        return (traffic["requests"], traffic["first_byte"]["count"]) == (12, 12)

    until(counted, "all requests are counted")
    until(
        lambda: proxy_status(server)["workers"][0]["requests_total"] >= before + 4, "the worker had its part"
    )


def test_a_worker_that_dies_under_load_costs_its_connections_only(server: LiveServer) -> None:
    deployed(server, "steady")
    over, failed, count = threading.Event(), list[str](), [0]

    def call() -> None:
        while not over.is_set():
            with httpx.Client(timeout=60, trust_env=False) as client:
                try:
                    while not over.is_set():
                        answer = client.get(f"{server.url}/api/steady/x")
                        count[0] += 1
                        if answer.status_code != 200:
                            failed.append(answer.text)
                except httpx.TransportError as error:
                    failed.append(type(error).__name__)

    with ThreadPoolExecutor(6) as pool:
        callers = [pool.submit(call) for _ in range(6)]
        try:
            until(lambda: count[0] > 100, "they are served")
            row = proxy_status(server)["workers"][0]
            assert row["connections"]
            os.kill(row["pid"], signal.SIGKILL)
            worker(server, before=row["pid"])
            seen = count[0]
            until(lambda: count[0] > seen + 100, "they are served")
        finally:
            over.set()
        for caller in callers:
            caller.result()
    # Each of its connections may have failed once, and no other.
    assert len(failed) <= row["connections"]
    assert not [text for text in failed if text.startswith("{")]
    assert any("worker_ended" in str(entry.get("event")) for entry in server.log)


def test_no_worker_outlives_a_killed_server(tmp_path: Path) -> None:
    configure(tmp_path, WORKERS)
    with running(tmp_path) as server:
        deployed(server, "orphaned")
        pid = worker(server)
        with httpx.Client(trust_env=False) as first, httpx.Client(trust_env=False) as second:
            for client in (first, second):
                assert client.get(f"{server.url}/api/orphaned/x").status_code == 200
            server.process.kill()
            server.process.wait()
            until(lambda: is_gone(pid), "the worker has ended")
        port = int(server.url.rpartition(":")[2])
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            sock.listen()
    with running(tmp_path) as server:
        worker(server)
        server.wait_until("orphaned", status="running")
        assert statuses(server, "/api/orphaned/x") == {200}
        assert server.rpc("POST", "/rpc/formations/orphaned/stop").status_code == 200


def test_a_reload_reaches_the_workers_and_a_stop_ends_them(tmp_path: Path) -> None:
    configure(tmp_path, WORKERS)
    with running(tmp_path) as server:
        deployed(server, "told")
        pid = worker(server)
        path = server.directory / "config" / "config.yaml"
        path.write_text(path.read_text().replace("workers: 2", "trusted_proxies: [127.0.0.1]\n  workers: 3"))
        done = muxi(tmp_path, "config", "reload", "--json")
        assert done.returncode == 0, done.stderr
        assert '"server.workers"' in done.stdout
        assert worker(server) == pid
        answers = through_both(server, "/api/told/x")
        assert {answer.status_code for answer in answers} == {200}
        assert server.terminate() == 0
        assert is_gone(pid)


def test_an_upgrade_replaces_the_workers(tmp_path: Path) -> None:
    configure(tmp_path, WORKERS)
    with running(tmp_path) as server:
        deployed(server, "kept")
        pid = worker(server)
        server.process.send_signal(signal.SIGUSR2)
        until(lambda: is_gone(pid), "the old worker has ended")
        assert worker(server, before=pid) != pid
        server.wait_until("kept", status="running")
        assert statuses(server, "/api/kept/x") == {200}


def test_one_worker_is_no_other_process(tmp_path: Path) -> None:
    configure(tmp_path, {})
    with running(tmp_path) as server:
        assert proxy_status(server)["workers"] == []


def test_the_command_is_not_for_people() -> None:
    done = subprocess.run(muxi_command("--help"), capture_output=True, text=True, check=True, timeout=60)
    assert "worker" not in done.stdout
