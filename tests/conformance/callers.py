"""How the Go SDK, the CLI and the TypeScript SDK write the heads of their requests."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from muxi.auth.scheme import authorization_header
from tests.conformance.wire import request

if TYPE_CHECKING:
    from tests.conformance.wire import Headers
    from tests.live import LiveServer


@dataclass(frozen=True)
class Caller:
    """A client: what it always sends, which calls it signs, and how it asks and posts.

    `suffix`: it asks for a stream by `/stream` after the path (and Accept), not by Accept alone.
    `posts`: the body of calls that have none to send.
    """

    name: str
    headers: Headers
    signs_all: bool = False
    json_always: bool = False
    suffix: bool = False
    posts: bytes = b""
    accept: str | None = None

    def call(
        self,
        server: LiveServer,
        method: str,
        target: str,
        *,
        stream: bool = False,
        body: bytes | None = None,
        more: Headers | None = None,
    ) -> bytes:
        """Return the bytes of one request. `body` None is what the client sends for nothing."""
        path = target.partition("?")[0]
        if body is None:
            body = self.posts if method == "POST" else b""
        headers: Headers = [("Host", urlsplit(server.url).netloc), *self.headers]
        if self.signs_all or path.startswith("/rpc/"):
            signature = authorization_header(server.key, server.secret, method, path, int(time.time()))
            headers.append(("Authorization", signature))
        if self.name != "cli":
            headers.append(("X-Muxi-Idempotency-Key", str(uuid.uuid4())))
        headers += self._accept(stream=stream)
        headers += more or []
        if (self.json_always or body) and not _has(headers, "Content-Type"):
            headers.append(("Content-Type", "application/json"))
        if method in {"POST", "PUT"} and not _has(headers, "Transfer-Encoding"):
            headers.append(("Content-Length", str(len(body))))
        return request(method, target, headers, body)

    def _accept(self, *, stream: bool) -> Headers:
        if stream:
            return [("Accept", "text/event-stream")]
        return [("Accept", self.accept)] if self.accept else []

    def streamed(self, path: str) -> str:
        return f"{path}/stream" if self.suffix else path


def _has(headers: Headers, name: str) -> bool:
    return any(present.lower() == name.lower() for present, _ in headers)


GO = Caller(
    "go",
    [
        ("User-Agent", "Go-http-client/1.1"),
        ("X-Muxi-SDK", "go/0.20260514.0"),
        ("X-Muxi-Client", "linux-amd64/go1.19"),
        ("Accept-Encoding", "gzip"),
    ],
)
CLI = Caller(
    "cli",
    [
        ("User-Agent", "Go-http-client/1.1"),
        ("X-Muxi-SDK", "cli/0.20260514.0"),
        ("Accept-Encoding", "gzip"),
    ],
)
TYPESCRIPT = Caller(
    "typescript",
    [
        ("connection", "keep-alive"),
        ("X-Muxi-SDK", "typescript/0.20260514.0"),
        ("X-Muxi-Client", "node-v20.11.0"),
        ("accept-language", "*"),
        ("sec-fetch-mode", "cors"),
        ("user-agent", "node"),
        ("accept-encoding", "gzip, deflate"),
    ],
    signs_all=True,
    json_always=True,
    suffix=True,
    posts=b"{}",
    accept="*/*",
)
CALLERS = (GO, CLI, TYPESCRIPT)
