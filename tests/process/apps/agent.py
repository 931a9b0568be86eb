"""A formation for tests, made naughty by its environment.

HEALTH       statuses of the health checks in turn, the last one for ever: "503,503,200"
HEALTH_PATH  the one path that knows of health; every other is 404
IGNORE_TERM  set: SIGTERM does nothing
Paths: /die?N exits with status N at once; /env answers its environment as JSON.
"""

import json
import os
import signal
from http.server import BaseHTTPRequestHandler, HTTPServer

if "IGNORE_TERM" in os.environ:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
statuses = [int(word) for word in os.environ.get("HEALTH", "200").split(",")]
health_path = os.environ.get("HEALTH_PATH", "/v1/health")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/die":
            os._exit(int(query))
        if path == health_path:
            self.answer(statuses.pop(0) if len(statuses) > 1 else statuses[0], b"")
        elif path == "/env":
            self.answer(200, json.dumps(dict(os.environ)).encode())
        elif path == "/health-is":
            statuses[:] = [int(query)]
            self.answer(200, b"")
        else:
            self.answer(404, b"")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
