"""A language model's server that always says the same."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER = "Greetings from the stand-in"


class _Handler(BaseHTTPRequestHandler):
    """Speaks as much of OpenAI's chat API as the runtime asks for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send({"object": "list", "data": [{"id": "llama3:8b", "object": "model"}]})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if request.get("stream"):
            self._stream()
        else:
            message = {"role": "assistant", "content": ANSWER}
            self._send(_completion({"message": message, "finish_reason": "stop"}, "chat.completion"))

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for word in ANSWER.split(" "):
            self._event(_completion({"delta": {"content": f"{word} "}}, "chat.completion.chunk"))
        self._event(_completion({"delta": {}, "finish_reason": "stop"}, "chat.completion.chunk"))
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, data: object) -> None:
        self.wfile.write(b"data: " + json.dumps(data).encode() + b"\n\n")

    def _send(self, data: object) -> None:
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def _completion(choice: dict[str, object], kind: str) -> dict[str, object]:
    return {
        "id": "chatcmpl-1",
        "object": kind,
        "created": 1,
        "model": "llama3:8b",
        "choices": [{"index": 0, "finish_reason": None, **choice}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


@contextmanager
def serving() -> Iterator[int]:
    """Run one, and give its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
