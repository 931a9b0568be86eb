"""A formation that counts in SQLite: what it has answered is in its database, whatever happens then."""

from __future__ import annotations

import os
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RELEASE = os.environ["RELEASE"]
_local = threading.local()


def database() -> sqlite3.Connection:
    if not hasattr(_local, "connection"):
        connection = sqlite3.connect("memory.db", timeout=30, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS counts (n INTEGER PRIMARY KEY, told_by TEXT)")
        _local.connection = connection
    found: sqlite3.Connection = _local.connection
    return found


class Counter(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/count":
            row = database().execute("INSERT INTO counts (told_by) VALUES (?)", (RELEASE,))
            self.answer(str(row.lastrowid))
        elif self.path == "/stream":
            self.stream()
        else:
            self.answer(RELEASE)

    def stream(self) -> None:
        """Send events until the other side has had enough, or this process is asked to end."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.close_connection = True
        for number in range(40):
            self.wfile.write(f"data: {number} {RELEASE}\n\n".encode())
            threading.Event().wait(0.05)
        self.wfile.write(b"data: end\n\n")

    def answer(self, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


if __name__ == "__main__":
    database()
    Server((os.environ["HOST"], int(os.environ["PORT"])), Counter).serve_forever()
