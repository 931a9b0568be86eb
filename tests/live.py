"""A real server as a process of its own, for tests that look at it from outside."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

import httpx

from muxi.auth.scheme import authorization_header
from tests.program import muxi_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parent.parent
KEY = "muxi_pk_" + "0123456789abcdef01234567"
SECRET = "muxi_sk_" + "fedcba98" * 7
OLD_KEY = "MUXI_" + "0123456789abcdef"
OLD_SECRET = "sk_" + "89abcdef" * 8
DEADLINE = 180.0  # a second's start of a server is one of a minute on a machine that does much else
FIRST_PORT, LAST_PORT = 20000, 32000
MAIN = "\nfrom muxi.cli.main import main\nmain()"

CONFIG = """
server_id: server-test-00000000
server: {{host: 127.0.0.1, port: 0}}
auth:
  keys:
    - {{id: {key}, secret: {secret}}}
    - {{id: {old_key}, secret: {old_secret}}}
formations:
  port_range: [{start}, {end}]
  restart_delay: 100ms
  deployment: {{health_check: {{timeout: 30s, interval: 100ms}}, force_kill_timeout: 3s}}
logging: {{format: json, level: info}}
{more}
"""

APP = """
import http.server, json, os, sys, threading, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body, status=200):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/v1/health":
            self.answer(b'{"status":"healthy"}')
        elif self.path == "/env":
            self.answer(json.dumps(dict(os.environ)).encode())
        elif self.path == "/pid":
            self.answer(json.dumps(os.getpid()).encode())
        else:
            self.answer(json.dumps({"path": self.path}).encode())

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, *args):
        print(self.path, flush=True)

print("app started", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def manifest(formation_id: str, **fields: object) -> str:
    return json.dumps({"id": formation_id, "name": "A test", "version": "1.0.0", **fields})


def bundle(formation_id: str, files: Mapping[str, str | bytes] | None = None, **fields: object) -> bytes:
    """Make a tar.gz as the CLI does, with one top directory; the plain test app unless files are given."""
    members = {"formation.afs": manifest(formation_id, **fields), "app.py": APP, **(files or {})}
    return tar_gz({f"{formation_id}/{name}": content for name, content in members.items()})


def tar_gz(members: Mapping[str, str | bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


@dataclass
class LiveServer:
    """A running server, its address, its credentials and its directory."""

    process: subprocess.Popen[str]
    url: str
    directory: Path
    log: list[dict[str, object]]
    key: str = KEY
    secret: str = SECRET
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=DEADLINE, trust_env=False))

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def formations(self) -> Path:
        return self.data / "formations"

    def signed(self, method: str, path: str) -> dict[str, str]:
        header = authorization_header(self.key, self.secret, method, path, int(time.time()))
        return {"Authorization": header}

    def rpc(
        self,
        method: str,
        path: str,
        *,
        content: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        everything = {**self.signed(method, path), **(headers or {})}
        return self.client.request(method, self.url + path, content=content, headers=everything)

    def deploy(self, formation_id: str, content: bytes | None = None, **headers: str) -> httpx.Response:
        return self.rpc(
            "POST",
            "/rpc/formations",
            content=bundle(formation_id) if content is None else content,
            headers={"Content-Type": "application/gzip", "X-Formation-ID": formation_id, **headers},
        )

    def formation(self, formation_id: str) -> dict[str, object]:
        data: dict[str, object] = self.rpc("GET", f"/rpc/formations/{formation_id}").json()["data"]
        return data

    def wait_until(self, formation_id: str, **wanted: object) -> dict[str, object]:
        """Wait until the formation's fields are as wanted, and return them."""
        deadline = time.monotonic() + DEADLINE
        while True:
            found = self.formation(formation_id)
            if all(found.get(name) == value for name, value in wanted.items()):
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"{formation_id} did not become {wanted}: {found}")
            time.sleep(0.02)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(self.url + path, headers=headers)

    def files(self) -> set[str]:
        """Name everything below the data directory but what the server itself keeps there."""
        own = {"registry.json", "receipts.json", "server.lock", "server.json", "logs/audit.log"}
        found = {str(path.relative_to(self.data)) for path in self.data.rglob("*")}
        return {name for name in found if name not in own}

    def terminate(self) -> int:
        self.process.terminate()
        return self.process.wait(DEADLINE)


def free_ports(width: int = 60) -> tuple[int, int]:
    """Return a range for a server's formations in which every port is free now.

    It lies below the ports that systems give out by themselves, and differs from run to run. Tests that
    run beside each other (pytest-xdist's workers) have a part of them each; one that takes the place of
    another, which has ended, has a higher number than there are parts.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    part = (LAST_PORT - FIRST_PORT) // workers
    first = FIRST_PORT + worker % workers * part
    while True:
        start = random.randrange(first, first + part - width)
        if all(_free(port) for port in range(start, start + width)):
            return start, start + width


def _free(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def write_config(directory: Path, more: str = "", ports: tuple[int, int] | None = None) -> None:
    start, end = ports or free_ports()
    (directory / "config").mkdir(parents=True, exist_ok=True)
    path = directory / "config" / "config.yaml"
    path.write_text(
        CONFIG.format(
            key=KEY, secret=SECRET, old_key=OLD_KEY, old_secret=OLD_SECRET, start=start, end=end, more=more
        )
    )
    path.chmod(0o600)


def environment(directory: Path) -> dict[str, str]:
    """Return what a server under test runs with: its own directories, nothing of the caller's MUXI_*.

    `python3` is the tests' own interpreter: on some machines the one on the path is a script that
    adds to the environment.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MUXI_")}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MUXI_CONFIG_DIR": str(directory / "config"),
        "MUXI_DATA_DIR": str(directory / "data"),
        "MUXI_LOG_DIR": str(directory / "log"),
        "MUXI_CACHE_DIR": str(directory / "cache"),
        "HOME": str(directory),
        "PYTHONPATH": str(ROOT),
    }


@contextmanager
def running(
    directory: Path,
    more: str = "",
    *,
    program: Sequence[str] = (),
    before: Sequence[str] = (),
    code: str = "",
    **variables: str,
) -> Iterator[LiveServer]:
    """Run a server on a port of the system's choice, with its directories below `directory`.

    `program` is run in place of the server itself: one that puts faults into it, for instance.
    Starting it again on the same directory is a restart. At the end it is asked to end, and
    killed when it does not. `code` is run before it, in the same process; `before` is a command that
    runs the server's.
    """
    if not (directory / "config").exists():
        write_config(directory, more)
    process = subprocess.Popen(
        [*before, *(program or _command(code)), "start"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=directory,
        env={**environment(directory), **variables},
    )
    log: list[dict[str, object]] = []
    listening = threading.Event()
    assert process.stderr is not None
    reader = threading.Thread(target=_read, args=(process.stderr, log, listening), daemon=True)
    reader.start()
    try:
        if not listening.wait(DEADLINE) or not any("url" in entry for entry in log):
            raise AssertionError(f"the server did not start: {log}")
        url = next(str(entry["url"]) for entry in log if "url" in entry)
        server = LiveServer(process, url.replace("localhost", "127.0.0.1"), directory, log)
        with server.client:
            yield server
    finally:
        _end(process)
        reader.join(DEADLINE)
        process.stderr.close()


def _command(code: str) -> Sequence[str]:
    return (sys.executable, "-c", code + MAIN) if code else muxi_command()


def _read(stream: IO[str], log: list[dict[str, object]], listening: threading.Event) -> None:
    for line in stream:
        try:
            log.append(json.loads(line))
        except ValueError:
            log.append({"raw": line})
        if "url" in log[-1]:
            listening.set()
    listening.set()


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
