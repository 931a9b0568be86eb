"""A formation that tells what happens to it. Packed into bundles; run by the server.

When the variable GATE names a file, it does not listen before that file exists.
"""

from __future__ import annotations

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Recorder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    left = threading.Event()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/v1/health":
            self.answer({"status": "healthy"})
        elif path == "/stream":
            self.stream()
        elif path == "/left":
            self.answer({"left": self.left.wait(30)})
        elif path == "/say":
            print(self.path.partition("?")[2], flush=True)
            self.answer({})
        elif path == "/env":
            self.answer(dict(os.environ))
        else:
            self.answer({"pid": os.getpid()})

    def do_POST(self) -> None:
        size = len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.answer({"size": size})

    def stream(self) -> None:
        """Send one event, then nothing until the other side hangs up."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"data: 1\n\n")
        self.close_connection = True
        if self.connection.recv(1) == b"":
            self.left.set()

    def answer(self, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: what is in the log, a test has asked for."""


class Server(ThreadingHTTPServer):
    request_queue_size = 1024


def main() -> None:
    gate = os.environ.get("GATE")
    while gate and not os.path.exists(gate):  # noqa: PTH110 - as short as it starts
        time.sleep(0.01)
    Server((os.environ["HOST"], int(os.environ["PORT"])), Recorder).serve_forever()


if __name__ == "__main__":
    main()
