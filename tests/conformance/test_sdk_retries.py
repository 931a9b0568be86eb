"""The SDK signs a call once and repeats the same header when it tries again; that must be taken."""

from __future__ import annotations

import http.client
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.conformance.sdk import SdkError, driven

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conformance.sdk import Style
    from tests.live import LiveServer


class Relay(ThreadingHTTPServer):
    """Hands requests on to a server, but spoils the answer of the first."""

    daemon_threads = True

    def __init__(self, server: LiveServer, fault: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.target = urlsplit(server.url).netloc
        self.fault = fault
        self.tries: list[dict[str, str]] = []
        self.statuses: list[int] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Relay

    def do_GET(self) -> None:
        self.relay(b"")

    def do_POST(self) -> None:
        self.relay(self.rfile.read(int(self.headers["Content-Length"])))

    def relay(self, body: bytes) -> None:
        first = not self.server.tries
        self.server.tries.append(dict(self.headers.items()))
        upstream = http.client.HTTPConnection(self.server.target, timeout=60)
        upstream.request(self.command, self.path, body, dict(self.headers.items()))
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        self.server.statuses.append(answer.status)
        if first and self.server.fault == "lost":
            self.close_connection = True
        elif first:
            self.reply(503, b'{"message": "not now"}')
        else:
            self.reply(answer.status, content)

    def reply(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@contextmanager
def relay(server: LiveServer, fault: str) -> Iterator[Relay]:
    with Relay(server, fault) as between:
        thread = threading.Thread(target=between.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield between
        finally:
            between.shutdown()
            thread.join()


@pytest.fixture
def formation(deploy: Callable[[str], str]) -> str:
    return deploy("again")


@pytest.mark.parametrize("fault", ["lost", "503"])
def test_a_repeated_header_is_taken(
    python: Path, style: Style, server: LiveServer, formation: str, tmp_path: Path, *, fault: str
) -> None:
    credentials = {"key_id": server.key, "secret_key": server.secret, "max_retries": 1}
    with relay(server, fault) as between:
        url = f"http://127.0.0.1:{between.server_port}"
        with driven(python, style, "ServerClient", tmp_path, url=url, **credentials) as client:
            assert client.call("restart_formation", formation)["status"] == "running"
    assert between.statuses == [200, 200]
    one, other = between.tries
    assert one["Authorization"] == other["Authorization"]
    assert one["X-Muxi-Idempotency-Key"] == other["X-Muxi-Idempotency-Key"]


def test_without_retries_a_lost_answer_is_a_connection_error(
    python: Path, style: Style, server: LiveServer, tmp_path: Path
) -> None:
    credentials = {"key_id": server.key, "secret_key": server.secret}
    with relay(server, "lost") as between:
        url = f"http://127.0.0.1:{between.server_port}"
        with (
            driven(python, style, "ServerClient", tmp_path, url=url, **credentials) as client,
            pytest.raises(SdkError) as raised,
        ):
            client.call("list_formations")
    assert raised.value.type == "ConnectionError"
