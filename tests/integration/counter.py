"""A formation that counts in SQLite: what it has answered is in its database, whatever happens then."""

from __future__ import annotations

import base64
import hashlib
import os
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RELEASE = os.environ.get("RELEASE", "")
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
        elif self.headers.get("Upgrade", "").lower() == "websocket":
            self.echo()
        else:
            self.answer(RELEASE)

    def stream(self) -> None:
        """Send events until the file that GATE names is there."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.close_connection = True
        number = 0
        while not os.path.exists(os.environ["GATE"]):  # noqa: PTH110 - as short as it starts
            self.wfile.write(f"data: {number} {RELEASE}\n\n".encode())
            number += 1
            threading.Event().wait(0.05)
        self.wfile.write(b"data: end\n\n")

    def echo(self) -> None:
        """Answer each message of a WebSocket with the release and the message, until it is closed."""
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.close_connection = True
        while (head := self.rfile.read(2)) and head[0] & 15 == 1:
            mask, masked = self.rfile.read(4), self.rfile.read(head[1] & 127)
            text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
            said = f"{RELEASE} {text.decode()}".encode()
            self.wfile.write(bytes([0x81, len(said)]) + said)
        self.wfile.write(b"\x88\x00")

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
