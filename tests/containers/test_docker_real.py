"""Formations as containers of a real engine, through a whole server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.containers.dockerd import IMAGE
from tests.live import bundle, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.containers.dockerd import Dockerd
    from tests.live import LiveServer

APP = """
import http.server, json, os, signal, sys, threading

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"{}"
        if self.path == "/env":
            body = json.dumps(dict(os.environ)).encode()
        elif self.path == "/who":
            facts = {"version": VERSION, "uid": os.getuid(), "pid": os.getpid(), "cwd": os.getcwd()}
            body = json.dumps(facts).encode()
        elif self.path == "/eat":
            eaten = [bytearray(1 << 20) for _ in range(4096)]
        elif self.path == "/exit":
            os._exit(7)
        elif self.path == "/remember":
            with open("memory.db", "a") as file:
                file.write("remembered ")
            body = open("memory.db", "rb").read()
        elif self.path.startswith("/say/"):
            print(self.path[5:], flush=True)
            print("err " + self.path[5:], file=sys.stderr, flush=True)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

signal.signal(signal.SIGTERM, lambda *_: (print("asked to end", flush=True), os._exit(0)))
print("app started", flush=True)
http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""


def container_bundle(formation_id: str, version: str = "1", **fields: object) -> bytes:
    app = f"VERSION = {version!r}\n{APP}"
    facts: dict[str, object] = {"image": IMAGE, "command": ["/usr/bin/python3", "app.py"], **fields}
    return bundle(formation_id, {"app.py": app}, **facts)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, dockerd: Dockerd) -> Iterator[LiveServer]:
    with running(tmp_path_factory.mktemp("server"), DOCKER_HOST=dockerd.address) as live:
        yield live


def test_an_image_is_deployed(server: LiveServer, dockerd: Dockerd) -> None:
    answer = server.deploy("boxed", container_bundle("boxed"))
    assert answer.status_code < 300, answer.text
    who = server.get("/api/boxed/who").json()
    assert who["version"] == "1"
