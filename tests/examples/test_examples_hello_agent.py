"""The example agent as a process of its own, without a server in front."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muxi.formation.manifest import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY = Path(__file__).parents[2] / "examples" / "hello-agent"


class Running:
    """The agent's process, and the port that it says it listens on."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        first = process.stdout.readline()
        self.port = int(first.rpartition(":")[2])
        # Somebody must read on, or the agent would block once the pipe is full.
        self.reader = threading.Thread(target=process.stdout.read)
        self.reader.start()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, object]]:
        connection = self.connect()
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()


@contextmanager
def agent(token_pause: str = "0") -> Iterator[Running]:
    environment = {"PATH": os.environ["PATH"], "HOST": "127.0.0.1", "PORT": "0", "TOKEN_PAUSE": token_pause}
    with subprocess.Popen(
        [sys.executable, "app.py"], cwd=DIRECTORY, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        running = Running(process)
        try:
            yield running
        finally:
            process.kill()
            running.reader.join(30)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with agent() as found:
        yield found


def test_the_manifest_is_that_of_a_native_formation() -> None:
    manifest = read_manifest(DIRECTORY)
    assert (manifest.id, manifest.kind) == ("hello-agent", "native")
    assert manifest.env == {"TOKEN_PAUSE": "0.12"}


@pytest.mark.parametrize("path", ["/v1/health", "/health", "/v1/health?x=1"])
def test_health(running: Running, path: str) -> None:
    status, answer = running.ask("GET", path)
    assert (status, answer["status"]) == (200, "healthy")


def test_a_chat_streams_tokens_and_then_is_done(running: Running) -> None:
    connection = running.connect()
    connection.request("POST", "/v1/chat", json.dumps({"message": "hi there"}))
    response = connection.getresponse()
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["Transfer-Encoding"] == "chunked"
    *events, last, end = response.read().decode().split("\n\n")
    connection.close()
    tokens = [json.loads(event.removeprefix("data: "))["token"] for event in events]
    assert end == ""
    assert {token["type"] for token in tokens} == {"text"}
    assert "".join(token["content"] for token in tokens).startswith("Hello! You said: hi there. ")
    assert last == f'event: done\ndata: {{"tokens": {len(tokens)}}}'


def test_the_first_token_is_there_while_the_others_are_not_yet_made() -> None:
    with agent(token_pause="3600") as slow:
        connection = slow.connect()
        connection.request("POST", "/v1/chat", json.dumps({"message": "x"}))
        assert json.loads(connection.getresponse().readline()[6:])["token"]["content"] == "Hello! "
        connection.close()


def test_a_chat_without_streaming_is_one_object(running: Running) -> None:
    status, answer = running.ask("POST", "/v1/chat", b'{"message": "", "stream": false}')
    assert status == 200
    assert str(answer["response"]).startswith("Hello! You said: nothing at all.")


@pytest.mark.parametrize("body", [b"{", b"[1]", b'"x"', b"\xff"])
def test_a_chat_that_is_no_object_is_refused(running: Running, body: bytes) -> None:
    status, answer = running.ask("POST", "/v1/chat", body)
    assert status == 400
    assert "JSON" in str(answer["error"])


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/chat", 405), ("GET", "/nowhere", 404)])
def test_what_there_is_not(running: Running, method: str, path: str, status: int) -> None:
    assert running.ask(method, path)[0] == status


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
def test_echo_takes_any_method(running: Running, method: str) -> None:
    status, answer = running.ask(method, "/v1/echo/?a=%2F&b".replace("echo/", "echo"), b"abc")
    assert status == 200
    assert (answer["method"], answer["path"], answer["body"]) == (method, "/v1/echo?a=%2F&b", "abc")


def test_a_head_request_has_no_body(running: Running) -> None:
    connection = running.connect()
    connection.request("HEAD", "/v1/echo")
    response = connection.getresponse()
    assert int(response.headers["Content-Length"]) > 0
    assert response.read() == b""
    connection.close()


def test_echo_reads_chunked_bodies_and_keeps_the_connection(running: Running) -> None:
    connection = running.connect()
    data = bytes(range(256)) * 100
    for _ in range(3):
        pieces = iter([data[:1], data[1:20000], data[20000:]])
        connection.request("POST", "/v1/echo", pieces, encode_chunked=True)
        answer = json.loads(connection.getresponse().read())
        assert (answer["size"], answer["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    connection.close()


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: x",
        "Content-Length: -1",
        "Content-Length: 99999999999",
        "Transfer-Encoding: chunked\r\n\r\nzz",
        "Transfer-Encoding: chunked\r\n\r\n-5",
    ],
)
def test_a_body_that_can_t_be_read_is_refused_and_the_connection_closed(running: Running, head: str) -> None:
    connection = running.connect()
    connection.connect()
    connection.sock.sendall(f"POST /v1/echo HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
    answer = b""
    while piece := connection.sock.recv(65536):
        answer += piece
    connection.close()
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_though_a_connection_is_idle(number: signal.Signals) -> None:
    with agent() as ending:
        connection = ending.connect()
        connection.request("GET", "/v1/health")
        connection.getresponse().read()
        ending.process.send_signal(number)
        assert ending.process.wait(30) == 0
        connection.close()


def test_a_request_in_flight_is_finished_before_the_end() -> None:
    with agent(token_pause="0.02") as ending:
        connection = ending.connect()
        connection.request("POST", "/v1/chat", json.dumps({"message": "x"}))
        response = connection.getresponse()
        response.readline()
        ending.process.terminate()
        assert b"event: done" in response.read()
        assert ending.process.wait(30) == 0
        connection.close()
