"""A server of releases on this machine: what is published, and how it goes wrong."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from muxi.upgrade.release import SUMS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "muxi-server-linux-amd64"


@dataclass
class ReleaseServer:
    """`newest` is where `/releases/latest` leads; `files` by path; those in `cut` end half-way."""

    url: str = ""
    newest: str = "v2.20261125.0"
    files: dict[str, bytes] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def publish(
        self, version: str, program: bytes, *, sums: bytes | None = None, at: str = "/server"
    ) -> None:
        name = file_here()
        digest = hashlib.sha256(program).hexdigest()
        self.files[f"{at}/v{version}/{name}"] = program
        self.files[f"{at}/v{version}/{SUMS}"] = f"{digest}  {name}\n".encode() if sums is None else sums
        self.newest = f"v{version}"

    def settings(self) -> str:
        return (
            f"updates: {{server_releases_url: '{self.url}/releases', "
            f"server_download_url: '{self.url}/server'}}\n"
            "download: {retries: 0, connect_timeout: 5s}\n"
        )


def file_here() -> str:
    from muxi.cli.upgrade import _file

    return _file()


@contextmanager
def releasing() -> Iterator[ReleaseServer]:
    published = ReleaseServer()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            published.asked.append(self.path)
            if self.path == "/releases/latest":
                self.send_response(302)
                self.send_header("Location", f"{published.url}/releases/tag/{published.newest}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = published.files.get(self.path)
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            if body and data:
                self.wfile.write(data[: len(data) // 2] if self.path in published.cut else data)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        published.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield published
        finally:
            server.shutdown()
            thread.join(30)


def program(version: str, *, says: str | None = None, fails: str = "") -> bytes:
    """Make a program that says which version it is, or does not."""
    if fails:
        return f"#!/bin/sh\necho '{fails}' >&2\nexit 1\n".encode()
    return f'#!/bin/sh\n# {version}\necho \'{{"version": "{says or version}"}}\'\n'.encode()


def installed(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(program(version))
    path.chmod(0o755)
    return path
