"""What the first process of a container owes: signals, an end in good order, and no zombies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.image.container import started, until
from tests.live import bundle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.image.built import Docker
    from tests.image.container import Box

APP = """
import http.server, json, os, signal, subprocess, sys

ORPHAN = "import os, sys; print(os.getpid(), flush=True) if os.fork() == 0 else os._exit(0)"

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"{}"
        if self.path == "/orphan":
            body = subprocess.check_output([sys.executable, "-c", ORPHAN])
        elif self.path == "/stay":
            body = str(subprocess.Popen(["sleep", "3600"]).pid).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

def end(*_):
    print("asked to end", flush=True)
    os._exit(0)

signal.signal(signal.SIGTERM, end)
http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""
STATES = "for one in /proc/[0-9]*; do sed -n 's/^State:.//p' $one/status 2>/dev/null; done"


@pytest.fixture
def box(docker: Docker) -> Iterator[Box]:
    with started(docker) as one:
        one.deploy("family", bundle("family", {"app.py": APP}))
        yield one


def test_orphans_are_reaped(box: Box) -> None:
    orphans = [int(box.get("/api/family/orphan").text) for _ in range(5)]
    box.run("sh", "-c", "sleep 0.01 & exit 0")
    for pid in orphans:
        until(lambda pid=pid: not _exists(box, pid), lambda: box.run("sh", "-c", STATES))  # type: ignore[misc]
    until(lambda: "zombie" not in box.run("sh", "-c", STATES), lambda: box.run("sh", "-c", STATES))


def test_a_stop_ends_formations_in_good_order(box: Box) -> None:
    box.get("/api/family/stay")
    assert box.stop() == 0, box.log
    assert "SIGTERM" in box.log
    assert not box.state["OOMKilled"]
    assert "asked to end" in box.docker("cp", f"{box.id}:/data/logs/family-out.log", "-")


def test_an_interrupt_ends_it_too(box: Box) -> None:
    box.docker("kill", "--signal", "INT", box.id)
    until(lambda: not box.state["Running"], lambda: box.log)
    assert box.state["ExitCode"] == 0, box.log


def _exists(box: Box, pid: int) -> bool:
    return box.docker.attempt("exec", box.id, "test", "-e", f"/proc/{pid}").returncode == 0
