"""A server of files that does what it is told: also cutting, stalling, lying and redirecting."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from muxi.config.download import DownloadConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUICK = DownloadConfig(connect_timeout=5, first_byte_timeout=20, stall_timeout=20, retries=3)
"""Settings for tests in which no wait is to end by itself."""


TRUST = ssl.create_default_context()


@dataclass(frozen=True)
class Asked:
    """A request, its fields by lower-case names."""

    method: str
    path: str
    fields: dict[str, str]

    @property
    def start(self) -> int:
        """Where the range asked for begins; 0 without one."""
        return int(self.fields.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])


Handler = Callable[[Asked, trio.abc.Stream], Awaitable[None]]


@dataclass
class Mirror:
    """Files by path, and by path what else happens: each handler once, in order, then the file as it is."""

    base: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    script: dict[str, list[Handler]] = field(default_factory=dict)
    seen: list[Asked] = field(default_factory=list)
    etags: bool = True
    ranges: bool = True

    def put(self, path: str, content: bytes, *handlers: Handler) -> str:
        self.files[path] = content
        self.script[path] = list(handlers)
        return self.base + path

    def asked(self, path: str) -> list[Asked]:
        return [one for one in self.seen if one.path == path]

    async def serve(self, stream: trio.abc.Stream) -> None:
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                more = await stream.receive_some(65536)
                if not more:
                    return
                head += more
            asked = parse(head)
            self.seen.append(asked)
            waiting = self.script.get(asked.path.partition("?")[0])
            handler = waiting.pop(0) if waiting else self.plain
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await handler(asked, stream)

    async def plain(self, asked: Asked, stream: trio.abc.Stream) -> None:
        content = self.files.get(asked.path.partition("?")[0])
        if content is None:
            await stream.send_all(head(404, {"Content-Length": "0"}))
            return
        status, fields, body = self.answer(asked, content)
        await stream.send_all(head(status, fields) + (b"" if asked.method == "HEAD" else body))

    def answer(self, asked: Asked, content: bytes) -> tuple[int, dict[str, str], bytes]:
        fields = {"ETag": etag(content)} if self.etags else {}
        condition = asked.fields.get("if-range")
        if self.ranges and "range" in asked.fields and condition in {None, etag(content)}:
            start, _, end = asked.fields["range"].removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end) if end else len(content), len(content) - 1)
            if first >= len(content):
                return 416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0", **fields}, b""
            body = content[first : last + 1]
            fields["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            return 206, {"Content-Length": str(len(body)), **fields}, body
        return 200, {"Content-Length": str(len(content)), **fields}, content

    def cut(self, after: int) -> Handler:
        """Return what sends a file's answer and ends the connection after so many bytes of the body."""

        async def handler(asked: Asked, stream: trio.abc.Stream) -> None:
            status, fields, body = self.answer(asked, self.files[asked.path])
            await stream.send_all(head(status, fields) + body[:after])

        return handler

    def stall(self, after: int, begun: trio.Event | None = None) -> Handler:
        """Return what sends so much of the body, and then nothing until the client has gone."""

        async def handler(asked: Asked, stream: trio.abc.Stream) -> None:
            status, fields, body = self.answer(asked, self.files[asked.path])
            await stream.send_all(head(status, fields) + body[:after])
            if begun is not None:
                begun.set()
            await stream.receive_some(1)

        return handler


def says(status: int, fields: dict[str, str] | None = None, body: bytes = b"") -> Handler:
    """Return what gives an answer whatever is asked; its length is right unless it is given."""

    async def handler(asked: Asked, stream: trio.abc.Stream) -> None:
        given = fields or {}
        framed = {"content-length", "transfer-encoding"} & {name.lower() for name in given}
        length = {} if framed else {"Content-Length": str(len(body))}
        await stream.send_all(head(status, {**given, **length}) + body)

    return handler


async def silence(asked: Asked, stream: trio.abc.Stream) -> None:
    """Take a request, and say nothing until the client has gone."""
    await stream.receive_some(1)


def head(status: int, fields: dict[str, str]) -> bytes:
    lines = [
        f"HTTP/1.1 {status} X",
        *(f"{name}: {value}" for name, value in fields.items()),
        "Connection: close",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:16]}"'


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def parse(head: bytes) -> Asked:
    first, *lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Asked(method, path, fields)


@asynccontextmanager
async def running(context: ssl.SSLContext | None = None) -> AsyncIterator[Mirror]:
    """Give a mirror that runs on a port of its own; over TLS with a context."""
    mirror = Mirror()

    async def connection(stream: trio.abc.Stream) -> None:
        if context is not None:
            stream = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        with suppress(trio.BrokenResourceError):
            await mirror.serve(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            trio.serve_tcp,
            connection,
            0,
        )
        port = listeners[0].socket.getsockname()[1]
        mirror.base = f"{'http' if context is None else 'https'}://127.0.0.1:{port}"
        yield mirror
        nursery.cancel_scope.cancel()
