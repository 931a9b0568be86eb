"""The server under a service manager: what it says to it, and the sockets it gets from it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from tests.integration.outside import deployed, muxi, until
from tests.live import DEADLINE, environment, running, write_config
from tests.program import muxi_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ACTIVATE = """
import os, sys
fd = int(sys.argv[1])
os.dup2(fd, 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="http")
os.execv(sys.argv[2], sys.argv[2:])
"""


class Listening:
    """The manager's end of the socket: all that has been told so far, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.words: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def close(self) -> None:
        self._socket.sendto(b"", str(self.path))
        self._reader.join(DEADLINE)
        self._socket.close()

    def until(self, word: str, times: int = 1) -> None:
        until(lambda: self.words.count(word) >= times, f"{word} is told {times} times")

    def _read(self) -> None:
        while data := self._socket.recv(4096):
            self.words += data.decode().split("\n")


@contextmanager
def listening(directory: Path) -> Iterator[Listening]:
    found = Listening(directory / "notify")
    try:
        yield found
    finally:
        found.close()


def test_the_manager_is_told_of_every_turn(tmp_path: Path) -> None:
    with listening(tmp_path) as manager:
        variables = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "1000000"}
        with running(tmp_path, **variables) as server:
            manager.until("READY=1")
            assert f"STATUS=Serving on {server.url}" in manager.words
            manager.until("WATCHDOG=1", 3)
            assert muxi(tmp_path, "config", "reload").returncode == 0
            manager.until("RELOADING=1")
            manager.until("READY=1", 2)
            assert any(word.startswith("MONOTONIC_USEC=") for word in manager.words)
            assert muxi(tmp_path, "upgrade", "--restart", "--no-download").returncode == 0
            manager.until("RELOADING=1", 2)
            manager.until("READY=1", 3)
            watched = manager.words.count("WATCHDOG=1")
            manager.until("WATCHDOG=1", watched + 2)
            server.process.send_signal(signal.SIGTERM)
            manager.until("STOPPING=1")
            assert server.process.wait(DEADLINE) == 0


def test_a_socket_of_the_manager_s_is_served_on_and_kept_by_an_upgrade(tmp_path: Path) -> None:
    """Also before the server runs can a client connect; and it is not closed with the server."""
    write_config(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        early = socket.create_connection(("127.0.0.1", port))
        early.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", ACTIVATE, str(sock.fileno()), *muxi_command("start")],
                pass_fds=[sock.fileno()],
                env=environment(tmp_path),
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            with early:
                early.settimeout(DEADLINE)
                assert early.recv(4096).startswith(b"HTTP/1.1 200")
            done = muxi(tmp_path, "upgrade", "--restart", "--no-download")
            assert done.returncode == 0, done.stderr
            assert (
                httpx.get(f"http://127.0.0.1:{port}/ping", trust_env=False, timeout=DEADLINE).text == "pong"
            )
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 0
        finally:
            process.kill()
            process.wait()
        with socket.create_connection(("127.0.0.1", port)):
            pass  # It is the manager's, and still open.
    entries = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {entry["url"] for entry in entries if "url" in entry} == {f"http://127.0.0.1:{port}"}


def test_formations_see_nothing_of_it(tmp_path: Path) -> None:
    with listening(tmp_path) as manager:
        variables = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "9000000", "LISTEN_FDS": "1"}
        with running(tmp_path, **variables) as server:
            deployed(server, "told")
            names = server.get("/api/told/env").json().keys()
            assert not {name for name in names if name.startswith(("NOTIFY", "WATCHDOG", "LISTEN"))}
