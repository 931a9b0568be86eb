"""An agent service in one file, on the standard library alone (Python 3.8 or newer).

It shows all that MUXI Server asks of a service: listen on HOST and PORT, answer GET /v1/health,
end soon after SIGTERM. The rest is its own affair:

    GET  /v1/health   {"status": "healthy", ...}
    POST /v1/chat     {"message": "..."} → the answer as server-sent events, a token each, then
                      `event: done`; with "stream": false → one JSON object
    *    /v1/echo     any method: what arrived here, as JSON
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Iterator  # noqa: UP035 - Python 3.8
from urllib.parse import urlsplit

STARTED = time.monotonic()
TOKEN_PAUSE = float(os.environ.get("TOKEN_PAUSE", "0.12"))
DRAIN_SECONDS = 5.0
MAX_BODY = 64 * 1024 * 1024


class BadRequest(Exception):
    """The request can't be read; the text says why."""


def answer_to(message: str) -> Iterator[str]:
    """Yield the tokens of an answer. A real agent would ask its model here."""
    said = message.strip() or "nothing at all"
    text = f"Hello! You said: {said}. I am a small agent behind MUXI Server, streaming one token at a time."
    for word in text.split(" "):
        yield word + " "


class InFlight:
    """Counts the requests being answered, so that the end can wait for them."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait_until_none(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._count == 0, timeout)


class Agent(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 75  # an idle connection's seconds; longer than a proxy keeps one
    in_flight = InFlight()

    def __getattr__(self, name: str) -> Callable[[], None]:
        # The base class calls do_METHOD; every method comes to the same place, known or not.
        if name.startswith("do_"):
            return self.dispatch
        raise AttributeError(name)

    def dispatch(self) -> None:
        with self.in_flight:
            try:
                body = self.read_body()
                self.route(urlsplit(self.path).path, body)
            except BadRequest as error:
                self.close_connection = True
                self.send_json(400, {"error": str(error)})
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
                self.log_message("the client left: %s", self.path)

    def route(self, path: str, body: bytes) -> None:
        if path == "/v1/echo":
            self.send_json(200, self.echo(body))
        elif path in ("/v1/health", "/health"):
            self.send_json(200, {"status": "healthy", "uptime_seconds": round(time.monotonic() - STARTED)})
        elif path == "/v1/chat" and self.command == "POST":
            self.chat(body)
        elif path == "/v1/chat":
            self.send_json(405, {"error": "POST a JSON object here"}, Allow="POST")
        else:
            self.send_json(404, {"error": f"no such path: {path}"})

    def chat(self, body: bytes) -> None:
        try:
            request = json.loads(body or b"{}")
        except ValueError:
            raise BadRequest("the body is not JSON") from None
        if not isinstance(request, dict):
            raise BadRequest("the body is not a JSON object")
        tokens = answer_to(str(request.get("message", "")))
        if request.get("stream") is False:
            self.send_json(200, {"response": "".join(tokens).strip()})
        else:
            self.stream(tokens)

    def stream(self, tokens: Iterator[str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        count = 0
        for token in tokens:
            count += 1
            self.send_chunk(f"data: {json.dumps({'token': {'type': 'text', 'content': token}})}\n\n")
            time.sleep(TOKEN_PAUSE)
        self.send_chunk(f"event: done\ndata: {json.dumps({'tokens': count})}\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def send_chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def echo(self, body: bytes) -> dict[str, Any]:
        return {
            "method": self.command,
            "path": self.path,
            "headers": [[name, value] for name, value in self.headers.items()],
            "body": body.decode("utf-8", "replace"),
            "size": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        }

    def send_json(self, status: int, value: dict[str, Any], **headers: str) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return b"".join(self.chunks())
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            raise BadRequest(f"Content-Length: a number up to {MAX_BODY} is wanted")
        return self.rfile.read(int(length))

    def chunks(self) -> Iterator[bytes]:
        total = 0
        while True:
            try:
                size = int(self.rfile.readline(1024).split(b";")[0], 16)
            except ValueError:
                raise BadRequest("a chunk's size is not a hexadecimal number") from None
            total += size
            if size < 0 or total > MAX_BODY:
                raise BadRequest(f"the body is longer than {MAX_BODY} bytes")
            if size == 0:
                break
            yield self.rfile.read(size)
            self.rfile.readline(1024)
        while self.rfile.readline(65536) not in (b"\r\n", b"\n", b""):
            pass  # trailers

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        print(f"{self.address_string()} {format % args}", flush=True)


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True  # idle keep-alive connections don't hold up the end; requests are waited for

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def main() -> None:
    server = Server((os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8000"))), Agent)

    def end(*_: object) -> None:
        # shutdown() waits for the serving loop, which is the thread that runs this handler
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    print(f"hello-agent listens on {server.server_address[0]}:{server.server_address[1]}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.socket.close()  # no new connection from here on
    if not Agent.in_flight.wait_until_none(DRAIN_SECONDS):
        print("some requests were cut off", flush=True)


if __name__ == "__main__":
    main()
