"""A collector on this machine, that answers as it is told and keeps what it got."""

from __future__ import annotations

import json
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Collector:
    """`statuses` are what the next requests get, 200 when there is none left; `texts` answer GETs by path.

    While `hold` is not set, requests wait.
    """

    url: str = ""
    statuses: deque[int] = field(default_factory=deque)
    texts: dict[str, str] = field(default_factory=dict)
    reports: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)

    def payloads(self) -> list[dict[str, Any]]:
        return [report["payload"] for report in self.reports]


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    collector.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            collector.reports.append(json.loads(body))
            collector.hold.wait(30)
            self._answer(collector.statuses.popleft() if collector.statuses else 200, b"")

        def do_GET(self) -> None:
            collector.asked.append(self.path)
            text = collector.texts.get(self.path)
            self._answer(404 if text is None else 200, (text or "").encode())

        def _answer(self, status: int, body: bytes) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                pass  # who asked has given up

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield collector
        finally:
            collector.hold.set()
            server.shutdown()
            thread.join(30)
