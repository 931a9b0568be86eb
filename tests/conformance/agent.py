"""A formation that answers the paths a FormationClient calls. Packed into bundles; run by the server."""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

ADMIN_KEY = "admin-key"
CLIENT_KEY = "client-key"


class Agent(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    released = threading.Event()
    last_headers: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/v1/health":
            self.answer(200, {"status": "healthy", "version": "test", "uptime_seconds": 1})
        elif url.path == "/v1/status":
            self.admin(lambda: self.success({"state": "ready"}))
        elif url.path == "/v1/events":
            self.begin_stream()
            self.event({"user": parse_qs(url.query)["user_id"][0]}, name="message")
            self.end_stream()
        elif url.path == "/v1/last-headers":
            self.answer(200, self.last_headers)
        else:
            self.failure(404, "AGENT_NOT_FOUND", f"nothing at {url.path}")

    def do_POST(self) -> None:
        body = json.loads(self.body() or b"{}")
        self.last_headers.clear()
        self.last_headers.update({name.lower(): value for name, value in self.headers.items()})
        path = urlsplit(self.path).path
        if path == "/v1/release":
            self.released.set()
            self.answer(200, {})
        elif path != "/v1/chat":
            self.failure(404, "NOT_FOUND", "no such path")
        elif self.headers.get("X-MUXI-CLIENT-KEY") != CLIENT_KEY:
            self.failure(401, "UNAUTHORIZED", "wrong client key")
        elif body.get("stream"):
            self.chat(body)
        else:
            user = self.headers.get("X-Muxi-User-ID")
            self.success({"response": f"You said: {body['message']}", "user": user})

    def do_PUT(self) -> None:
        self.body()
        self.admin(self.no_content)

    def do_DELETE(self) -> None:
        self.admin(self.no_content)

    def chat(self, body: dict[str, object]) -> None:
        """Stream two tokens, the second after /v1/release; or fail after the first."""
        self.released.clear()
        self.begin_stream()
        self.write(b": keepalive\n\n")
        self.event({"token": {"type": "text", "content": "first"}})
        if body["message"] == "fail":
            self.event({"error": "the model is gone", "type": "MODEL_ERROR"}, name="error")
        else:
            self.released.wait(60)
            self.event({"token": {"type": "text", "content": "second ✓ ü"}})
            self.event({"finished": True}, name="done")
        self.end_stream()

    def admin(self, answer: object) -> None:
        if self.headers.get("X-MUXI-ADMIN-KEY") == ADMIN_KEY:
            answer()  # type: ignore[operator]
        else:
            self.failure(403, "FORBIDDEN", "wrong admin key")

    def success(self, data: dict[str, object]) -> None:
        self.answer(200, {"success": True, "data": data, "request": {"id": "req-1"}, "timestamp": 1})

    def failure(self, status: int, code: str, message: str) -> None:
        error = {"code": code, "message": message, "data": {}}
        self.answer(status, {"success": False, "error": error, "message": message})

    def no_content(self) -> None:
        self.send_response(204)
        self.end_headers()

    def answer(self, status: int, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def event(self, data: object, name: str | None = None) -> None:
        line = f"data: {json.dumps(data)}\n\n"
        self.write((line if name is None else f"event: {name}\n{line}").encode())

    def end_stream(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def write(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        if self.path != "/v1/health":  # they come at any time, and would be between a test's own lines
            print(format % args, flush=True)


if __name__ == "__main__":
    print("agent started", flush=True)
    ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Agent).serve_forever()
