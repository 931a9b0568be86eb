"""Updates and rollbacks as clients see them: requests, streams and WebSockets all the while."""

from __future__ import annotations

import base64
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from tests.integration import counter
from tests.integration.outside import server_events, until
from tests.live import LiveServer, bundle, running

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNTER = Path(counter.__file__).read_bytes()
ROUNDS = 20 if os.environ.get("MUXI_FAULTS") == "full" else 2
ID = "counts"


def packed(live: LiveServer, number: int) -> bytes:
    variables = {"RELEASE": str(number), "GATE": str(live.directory / "gate")}
    return bundle(ID, {"app.py": COUNTER}, version=f"{number}.0.0", env=variables)


def update(live: LiveServer, number: int, **headers: str) -> httpx.Response:
    return live.rpc(
        "PUT",
        f"/rpc/formations/{ID}",
        content=packed(live, number),
        headers={"X-Muxi-Force": "true", **headers},
    )


def rollback(live: LiveServer) -> httpx.Response:
    return live.rpc("POST", f"/rpc/formations/{ID}/rollback")


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    with running(tmp_path) as server:
        assert server.deploy(ID, packed(server, 1)).status_code == 201
        yield server


@contextmanager
def load(live: LiveServer, clients: int = 3) -> Iterator[list[str]]:
    """Send requests all the while, and gather what was wrong with any of them."""
    over, wrong, sent = threading.Event(), list[str](), [0] * clients

    def ask(number: int) -> None:
        with httpx.Client(timeout=60, trust_env=False) as client:
            while not over.is_set():
                try:
                    answer = client.get(f"{live.url}/api/{ID}/{'count' if number % 2 else 'release'}")
                except httpx.HTTPError as error:
                    wrong.append(repr(error))
                else:
                    if answer.status_code != 200 or not answer.text.isdecimal():
                        wrong.append(f"{answer.status_code} {answer.text}")
                sent[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: all(sent), "every client has had an answer")
        yield wrong
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_no_request_fails_through_updates_and_rollbacks(live: LiveServer) -> None:
    with load(live) as wrong:
        for number in range(2, 2 + ROUNDS):
            answer = update(live, number)
            assert answer.status_code == 200, answer.text
            assert live.get(f"/api/{ID}/release").text == str(number)
            answer = rollback(live)
            assert answer.status_code == 200, answer.text
            assert live.get(f"/api/{ID}/release").text == answer.json()["data"]["version"][:-4]
            assert rollback(live).status_code == 200
            assert wrong == []
    assert live.rpc("GET", "/rpc/server/status").json()["data"]["ports"]["allocated"] == 1


def test_requests_wait_while_a_release_is_recreated(live: LiveServer) -> None:
    with load(live) as wrong:
        for number in range(2, 2 + ROUNDS):
            answer = update(live, number, **{"X-Muxi-Strategy": "recreate"})
            assert answer.status_code == 200, answer.text
            assert answer.json()["data"]["deployment_type"] == "recreate"
            assert live.get(f"/api/{ID}/release").text == str(number)
    assert wrong == []


def test_a_stream_that_began_before_the_switch_comes_to_its_own_end(live: LiveServer) -> None:
    with ThreadPoolExecutor() as pool:
        with live.client.stream("GET", f"{live.url}/api/{ID}/stream") as answer:
            lines = answer.iter_lines()
            assert next(lines) == "data: 0 1"
            going = pool.submit(update, live, 2)
            until(lambda: stage(live) == "draining", "the old release is waited for")
            assert live.get(f"/api/{ID}/release").text == "2"
            (live.directory / "gate").touch()
            told = [line for line in lines if line]
        assert told[-1] == "data: end"
        assert {line.rpartition(" ")[2] for line in told[:-1]} == {"1"}
        assert going.result().status_code == 200


def stage(live: LiveServer) -> object:
    return live.rpc("GET", f"/rpc/formations/{ID}/operation").json()["data"]["stage"]


def test_a_websocket_that_began_before_the_switch_goes_on_until_it_is_closed(live: LiveServer) -> None:
    with ThreadPoolExecutor() as pool, websocket(live) as say:
        assert say("one") == "1 one"
        going = pool.submit(update, live, 2)
        until(lambda: stage(live) == "draining", "the old release is waited for")
        assert say("two") == "1 two"
        assert live.get(f"/api/{ID}/release").text == "2"
        drain = live.rpc("GET", f"/rpc/formations/{ID}/operation").json()["data"]["drain"]
        assert drain["tunnels"] == 1
        say.close()
        assert going.result().status_code == 200


class Say:
    """One WebSocket from the client's side: a text each way at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb")

    def head(self) -> bytes:
        return b"".join(iter(self._file.readline, b"\r\n"))

    def __call__(self, text: str) -> str:
        self._sock.sendall(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text.encode())
        head = self._file.read(2)
        assert head[0] == 0x81
        return self._file.read(head[1]).decode()

    def close(self) -> None:
        self._sock.sendall(bytes([0x88, 0x80]) + bytes(4))
        assert self._file.read(2) == b"\x88\x00"


@contextmanager
def websocket(live: LiveServer) -> Iterator[Say]:
    port = urlsplit(live.url).port
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        key = base64.b64encode(bytes(16)).decode()
        sock.sendall(
            f"GET /api/{ID}/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        say = Say(sock)
        assert say.head().startswith(b"HTTP/1.1 101 ")
        yield say


def test_a_client_that_leaves_a_streamed_update_does_not_cancel_it(live: LiveServer) -> None:
    path = f"/rpc/formations/{ID}"
    headers = {**live.signed("PUT", path), "Accept": "text/event-stream"}
    with live.client.stream("PUT", live.url + path, content=packed(live, 2), headers=headers) as answer:
        seen = (data["stage"] for name, data in server_events(answer) if name == "progress")
        assert "spawning_staging" in seen
    watched = {**live.signed("GET", f"{path}/operation"), "Accept": "text/event-stream"}
    with live.client.stream("GET", f"{live.url}{path}/operation", headers=watched) as answer:
        events = list(server_events(answer))
    assert events[-1][0] == "complete"
    stages = [data["stage"] for name, data in events if name == "progress"]
    assert stages[0] == "extracting"
    assert "stopping_old" in stages
    assert live.get(f"/api/{ID}/release").text == "2"


def test_a_repeated_update_gets_the_first_result_also_after_a_restart(tmp_path: Path) -> None:
    key = {"X-Muxi-Idempotency-Key": "3f6c"}
    with running(tmp_path) as server:
        assert server.deploy(ID, packed(server, 1)).status_code == 201
        first = update(server, 2, **key)
        again = update(server, 2, **key)
        assert again.json() == first.json()
        assert again.headers["Idempotency-Replayed"] == "true"
        assert update(server, 3, **key).status_code == 422
    with running(tmp_path) as server:
        again = update(server, 2, **key)
        assert (again.status_code, again.json()) == (200, first.json())
        assert server.get(f"/api/{ID}/release").text == "2"


def test_the_reported_stages_are_honest(live: LiveServer) -> None:
    path = f"/rpc/formations/{ID}"
    headers = {**live.signed("PUT", path), "Accept": "text/event-stream"}
    content = bundle(
        ID,
        {"app.py": COUNTER, "weights.bin": os.urandom(4_000_000)},
        version="2.0.0",
        env={"RELEASE": "2"},
    )
    with live.client.stream("PUT", live.url + path, content=content, headers=headers) as answer:
        events = list(server_events(answer))
    percentages = [data["progress"] for _, data in events if "progress" in data]
    assert percentages == sorted(percentages)
    assert len(percentages) > 3
    assert percentages[-1] <= 100
    attempts = [data["attempt"] for _, data in events if "attempt" in data]
    assert attempts == list(range(1, len(attempts) + 1))
    assert [name for name, _ in events[:-1]] == ["progress"] * (len(events) - 1)
    name, last = events[-1]
    assert (name, last["previous_version"], last["new_version"], last["version"]) == (
        "complete",
        "1",
        "2",
        "2.0.0",
    )
