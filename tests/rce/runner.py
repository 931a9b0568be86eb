"""A stand-in for the code runner: as much of it as the server and formations meet.

It reads what the real one reads, RCE_PORT, RCE_AUTH_TOKEN and RCE_CACHE_DIR, and listens on all
interfaces as that does, unless RCE_TEST_HOST says otherwise.
"""

from __future__ import annotations

import http.server
import json
import os
from pathlib import Path

TOKEN = os.environ["RCE_AUTH_TOKEN"]
CACHE = Path(os.environ.get("RCE_CACHE_DIR", "/cache/skills"))


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer({"status": "healthy"})
        else:
            self.answer({"error": "not found"}, 404)

    def do_POST(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer({"error": "unauthorized"}, 401)
            return
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        (CACHE / "ran").write_bytes(asked)
        self.answer({"stdout": asked.decode(), "exit_code": 0})

    def answer(self, content: object, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        print(self.path, flush=True)


print("code runner started", flush=True)
address = os.environ.get("RCE_TEST_HOST", "0.0.0.0"), int(os.environ.get("RCE_PORT", "7891"))
http.server.ThreadingHTTPServer(address, Handler).serve_forever()
