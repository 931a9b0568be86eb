"""A deploy while it is under way, and uploads that are slow, or too large."""

from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.conformance.wire import connect, read_answer
from tests.integration.outside import (
    check_files,
    configure,
    deployed,
    processes,
    recorder,
    server_events,
    until,
)
from tests.live import bundle, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live import LiveServer

LIMIT = 64 * 1024


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


def slow(formation_id: str, gate: Path, marker: str) -> bytes:
    """Pack a formation that does not come up before the gate is open."""
    command = ["python3", "app.py", marker]
    return recorder(formation_id, env={"GATE": str(gate)}, command=command)


def test_it_is_visible_at_once_and_answers_when_it_is_done(
    server: LiveServer, gate: Path, marker: str
) -> None:
    with ThreadPoolExecutor() as pool:
        deploy = pool.submit(server.deploy, "slow", slow("slow", gate, marker))
        try:
            until(lambda: status(server, "slow") == "starting", "it is seen as starting")
            early = pool.submit(server.get, "/api/slow/x")
            assert server.formation("slow")["operation_id"]
            assert not deploy.done()
            assert not early.done()
        finally:
            gate.touch()
        assert deploy.result().status_code == 201
        assert early.result().status_code == 200
    assert server.rpc("DELETE", "/rpc/formations/slow").status_code == 200


def status(server: LiveServer, formation_id: str) -> object:
    answer = server.rpc("GET", f"/rpc/formations/{formation_id}")
    return answer.json()["data"]["status"] if answer.status_code == 200 else None


def test_a_second_deploy_of_the_id_is_told_of_the_first(server: LiveServer, gate: Path, marker: str) -> None:
    with ThreadPoolExecutor() as pool:
        first = pool.submit(server.deploy, "twin", slow("twin", gate, marker))
        try:
            until(lambda: status(server, "twin") == "starting", "the first is under way")
            second = server.deploy("twin", slow("twin", gate, marker))
            assert second.status_code == 409
            assert second.json()["details"]["operation_id"] == server.formation("twin")["operation_id"]
            for action in ("start", "stop", "restart"):
                answer = server.rpc("POST", f"/rpc/formations/twin/{action}")
                assert answer.status_code == 409
                assert answer.json()["details"]["operation_id"]
        finally:
            gate.touch()
        assert first.result().status_code == 201
    assert server.rpc("DELETE", "/rpc/formations/twin").status_code == 200


def test_a_delete_cancels_it(server: LiveServer, gate: Path, marker: str) -> None:
    before = server.files()
    with ThreadPoolExecutor() as pool:
        deploy = pool.submit(server.deploy, "ctrl-c", slow("ctrl-c", gate, marker))
        until(lambda: len(processes(marker)) == 1, "its process is started")
        assert server.rpc("DELETE", "/rpc/formations/ctrl-c").status_code == 200
        cancelled = deploy.result()
    assert cancelled.status_code == 409
    assert cancelled.json()["error_code"] == "Cancelled"
    assert processes(marker) == set()
    check_files(server, before)
    assert server.rpc("GET", "/rpc/server/status").json()["data"]["ports"]["allocated"] == 0
    deployed(server, "ctrl-c")
    assert server.rpc("DELETE", "/rpc/formations/ctrl-c").status_code == 200


def test_a_client_that_leaves_does_not_end_it(server: LiveServer, gate: Path, marker: str) -> None:
    headers = {
        **server.signed("POST", "/rpc/formations"),
        "Content-Type": "application/gzip",
        "X-Formation-ID": "goes-on",
        "Accept": "text/event-stream",
    }
    packed = slow("goes-on", gate, marker)
    with server.client.stream(
        "POST", f"{server.url}/rpc/formations", content=packed, headers=headers
    ) as answer:
        stages = (data["stage"] for name, data in server_events(answer) if name == "progress")
        assert "health_check" in stages
    gate.touch()
    server.wait_until("goes-on", status="running")
    assert server.rpc("DELETE", "/rpc/formations/goes-on").status_code == 200


def test_an_upload_in_many_small_pieces_keeps_nobody_waiting(server: LiveServer) -> None:
    packed = recorder("drops")

    def drops() -> Iterator[bytes]:
        for start in range(0, len(packed), 10):
            if start % 200 == 0:
                assert server.get("/ping").text == "pong"
                assert server.rpc("GET", "/rpc/formations").status_code == 200
            yield packed[start : start + 10]

    assert server.deploy("drops", drops()).status_code == 201  # type: ignore[arg-type]
    assert server.rpc("DELETE", "/rpc/formations/drops").status_code == 200


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server that takes no large bundles."""
    directory = tmp_path_factory.mktemp("small")
    configure(directory, {"formations": {"bundle": {"max_upload_size": LIMIT}}})
    with running(directory) as live:
        yield live


def too_large(formation_id: str) -> bytes:
    return bundle(formation_id, {"weights.bin": os.urandom(8 * LIMIT)})


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_too_large_is_told_to_a_client_that_is_still_sending(small: LiveServer, framing: str) -> None:
    before = small.files()
    packed = too_large("large")
    content = packed if framing == "length" else iter([packed])
    answer = small.deploy("large", content)  # type: ignore[arg-type]
    assert answer.status_code == 413
    assert f"{LIMIT:,} bytes" in answer.json()["message"]
    assert answer.json()["details"]["limit"] == LIMIT
    assert answer.json()["cure"]
    check_files(small, before)
    assert small.rpc("GET", "/rpc/formations/large").status_code == 404


def test_too_large_is_told_before_it_is_all_sent(small: LiveServer) -> None:
    """The answer comes though the client never stops sending."""
    head = (
        "POST /rpc/formations HTTP/1.1\r\nHost: x\r\nContent-Type: application/gzip\r\n"
        f"Authorization: {small.signed('POST', '/rpc/formations')['Authorization']}\r\n"
        f"X-Formation-ID: endless\r\nContent-Length: {1024**4}\r\n\r\n"
    )
    with connect(small.url) as sock:
        sock.sendall(head.encode())
        sender = threading.Thread(target=send_without_end, args=(sock,))
        sender.start()
        answer = read_answer(sock)
        sock.shutdown(socket.SHUT_RDWR)
        sender.join(60)
    assert answer.status == 413
    assert answer.json["code"] == 413
    assert small.get("/ping").text == "pong"


def send_without_end(sock: socket.socket) -> None:
    try:
        while True:
            sock.sendall(bytes(LIMIT))
    except OSError:
        return  # the server, or the test, has hung up


def test_a_small_one_is_taken_by_the_same_server(small: LiveServer) -> None:
    deployed(small, "small-one")
    assert small.rpc("DELETE", "/rpc/formations/small-one").status_code == 200
