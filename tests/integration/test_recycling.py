"""A formation that leaks memory is renewed, and nobody notices."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from tests.integration.outside import configure, processes, until
from tests.live import bundle, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEAKY = """
import http.server, json, os

kept = []

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/leak":
            kept.append(os.urandom(1 << 20) * 96)
        body = json.dumps({"pid": os.getpid()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

address = os.environ["HOST"], int(os.environ["PORT"])
http.server.ThreadingHTTPServer(address, Handler).serve_forever()
"""


@contextmanager
def asking(url: str, answers: list[int | str]) -> Iterator[None]:
    """Ask all the time; note the pid of each good answer, and what any other was."""
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=60, trust_env=False, verify=False) as client:
            while not over.wait(0.01):
                try:
                    answer = client.get(url)
                    answers.append(answer.json()["pid"] if answer.status_code == 200 else answer.text)
                except httpx.HTTPError as error:
                    answers.append(repr(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)


def test_one_past_its_soft_limit_on_memory_is_renewed_without_losing_a_request(
    tmp_path: Path, marker: str
) -> None:
    configure(tmp_path, {"formations": {"usage_interval": "500ms"}})
    answers: list[int | str] = []
    with running(tmp_path) as server:
        packed = bundle(
            "leaky",
            {"app.py": LEAKY},
            command=["python3", "app.py", marker],
            resources={"memory_soft": "80M"},
        )
        assert server.deploy("leaky", packed).status_code == 201
        before = server.formation("leaky")["pid"]
        with asking(f"{server.url}/api/leaky/x", answers):
            assert server.get("/api/leaky/leak").status_code == 200
            until(lambda: server.formation("leaky")["pid"] != before, "another process has taken over")
            until(lambda: len(processes(marker)) == 1, "the old one is gone")
            until(lambda: "soft limit" in str(server.formation("leaky")["reason"]), "it says why")
        found = server.formation("leaky")
        assert {before, found["pid"]} == set(answers)
        assert (found["status"], found["restart_count"]) == ("running", 0)
