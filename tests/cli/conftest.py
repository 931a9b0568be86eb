"""An installation in a temporary directory, and a management API that answers as it is told."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from muxi.config.load import load
from muxi.config.model import Paths
from muxi.config.save import new_config, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from muxi.auth.credentials import KeyPair


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class FakeServer:
    """Answers by (method, path without query); anything else is 404 in the envelope."""

    port: int
    answers: dict[tuple[str, str], tuple[int, str, bytes]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def json(self, method: str, path: str, data: object, status: int = 200) -> None:
        body = {"success": True, "data": data} if status < 400 else data
        self.answers[method, path] = (status, "application/json", json.dumps(body).encode())

    def refuse(self, method: str, path: str, status: int, message: str, **more: object) -> None:
        body = {"success": False, "error": "Refused", "message": message, "code": status, **more}
        self.json(method, path, body, status)

    def events(self, method: str, path: str, *events: tuple[str, dict[str, object]]) -> None:
        text = ": hello\n\n" + "".join(
            f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events
        )
        self.answers[method, path] = (200, "text/event-stream", text.encode())

    def routes(self) -> list[tuple[str, str]]:
        return [(seen.method, seen.path) for seen in self.seen]


@dataclass(frozen=True)
class Installation:
    """Paths, and credentials once `configure` has made some."""

    paths: Paths
    environment: dict[str, str]

    @property
    def config_file(self) -> Path:
        return self.paths.config_file

    def configure(self, port: int) -> KeyPair:
        text, credentials = new_config(port, "127.0.0.1", "tester")
        write_config(self.config_file, text)
        return credentials

    def server_id(self) -> str:
        return load(self.paths, require_key=False).config.server_id


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """Give an empty installation, and an environment in which the command line finds it."""
    config, data, logs = (tmp_path / name for name in ("config", "data", "logs"))
    environment = {
        "MUXI_CONFIG_DIR": str(config),
        "MUXI_DATA_DIR": str(data),
        "MUXI_LOG_DIR": str(logs),
        "HOME": str(tmp_path),  # what belongs to the user, not to the installation
        "MUXI_PORT_START": "19100",  # formations' ports, away from what a developer's machine runs
        "MUXI_PORT_END": "19400",
    }
    for name in ("MUXI_PORT", "MUXI_HOST", "MUXI_DEBUG", "MUXI_LOG_LEVEL", "MUXI_AUTH_ENABLED"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Installation(Paths(config, data, logs, data / "cache", config / "config.yaml"), environment)


@pytest.fixture
def fake_server(installation: Installation) -> Iterator[FakeServer]:
    """Give a running fake, which the installation's configuration names."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            headers = {name.lower(): value for name, value in self.headers.items()}
            fake.seen.append(Seen(self.command, self.path, headers, self.rfile.read(length)))
            missing = json.dumps({"message": "Formation not found", "code": 404}).encode()
            status, kind, body = fake.answers.get(
                (self.command, self.path.partition("?")[0]), (404, "application/json", missing)
            )
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - the base class's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake = FakeServer(server.server_address[1])
        installation.configure(fake.port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join(30)
