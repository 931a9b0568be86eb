"""One request and its response, between ASGI and a socket that speaks HTTP/1.1."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

import trio

from muxi.proxy.answers import Answer
from muxi.proxy.asgi_head import http1_head
from muxi.proxy.bodies import ChunkedBody, response_body
from muxi.proxy.heads import CHUNKED, HeadError, ResponseHead
from muxi.proxy.http1_response import parse_response_head
from muxi.proxy.http2_stream import EXTENSION, RequestInfo

if TYPE_CHECKING:
    import socket

    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope

    from muxi.proxy.asgi_head import Fields

READ: Final = 64 << 10
TOO_LATE: Final = Answer(408, "The request did not arrive in time")


class Exchange:
    """One request and its response, between ASGI and a socket that speaks HTTP/1.1.

    A response that can't be finished is left unfinished: the server above resets its stream.
    """

    def __init__(
        self,
        sock: socket.socket,
        scope: HTTPScope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
    ) -> None:
        self._sock = sock
        self._scope = scope
        self._receive = receive
        self._send = send
        self._asked = False

    async def run(self) -> None:
        """Run to the end of the response, or until the client leaves."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_request, nursery.cancel_scope)
            with suppress(OSError, HeadError):
                await self._relay_response()
            nursery.cancel_scope.cancel()

    async def _send_request(self, scope: trio.CancelScope) -> None:
        try:
            await self._write_request()
            while (await self._receive())["type"] != "http.disconnect":
                pass
        except HeadError as error:
            await send_answer(self._send, Answer(error.status, f"Bad request: {error.reason}"))
        except _LeftError:
            pass
        scope.cancel()

    async def _write_request(self) -> None:
        fields = cast("Fields", list(self._scope["headers"]))
        length, body, more, info = _given_length(fields), b"", True, request_info(self._scope)
        if length is None and info is not None:
            length = 0 if info.ended else None
        elif length is None:
            body, more = await self._read_body()
            length = None if more else len(body)
        method, target = self._scope["method"], raw_target(self._scope)
        await self._write(http1_head(method, target, fields, length=length))
        self._asked = True
        chunked = length is None
        while True:
            if body:
                await self._write(b"%x\r\n%b\r\n" % (len(body), body) if chunked else body)
            if not more:
                break
            body, more = await self._read_body()
        if chunked:
            await self._write(b"0\r\n\r\n")

    async def _read_body(self) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] != "http.request":
            raise _LeftError
        return message["body"], message["more_body"]

    async def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._sock)
            except OSError:
                return  # It wants no more of the body; its answer may be there already.

    async def _read(self) -> bytes:
        while True:
            try:
                return self._sock.recv(READ)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._sock)

    async def _relay_response(self) -> None:
        """Send what the formation answers."""
        head, data = await self._read_head()
        if head is None:
            if not self._asked:
                await send_answer(self._send, TOO_LATE)
            return
        body = response_body(head.length, http11=False)
        trailers = head.length == CHUNKED and self._takes_trailers(head)
        fields = _pairs(head.fields)
        await self._send(
            {"type": "http.response.start", "status": head.status, "headers": fields, "trailers": trailers}
        )
        data = body.take(data)
        while not body.done:
            if data:
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
            data = await self._read()
            if not data:
                return
            data = body.take(data)
        await self._send({"type": "http.response.body", "body": data, "more_body": False})
        if trailers and isinstance(body, ChunkedBody):
            last = _pairs(body.trailers)
            await self._send({"type": "http.response.trailers", "headers": last, "more_trailers": False})

    async def _read_head(self) -> tuple[ResponseHead | None, bytes]:
        """Read the final response's head, passing interim ones on; also what came after it."""
        data, method = b"", self._scope["method"].encode()
        while True:
            head = parse_response_head(data, method)
            if head is None:
                more = await self._read()
                if not more:
                    return None, b""
                data += more
                continue
            data = data[head.size :]
            if head.status >= 200:
                return head, data
            info = request_info(self._scope)
            if info is not None:
                await info.interim(head.status, _pairs(head.fields))

    def _takes_trailers(self, head: ResponseHead) -> bool:
        """Tell whether trailers may follow: ASGI is to be told before, so they must be announced."""
        wanted = any(name == b"te" and value == b"trailers" for name, value in self._scope["headers"])
        return wanted and any(line[:8].lower() == b"trailer:" for line in head.fields)


class _LeftError(Exception):
    """The client has left."""


def request_info(scope: HTTPScope) -> RequestInfo | None:
    """Give what the server below says of a request beyond ASGI, if it is ours."""
    found: object = scope["extensions"].get(EXTENSION)
    return found if isinstance(found, RequestInfo) else None


def raw_target(scope: HTTPScope) -> bytes:
    """Give the request's target, byte for byte where the server below knows it."""
    info = request_info(scope)
    if info is not None:
        return info.target
    query = scope["query_string"]
    return scope["raw_path"] + b"?" + query if query else scope["raw_path"]


async def send_answer(send: ASGISendCallable, answer: Answer) -> None:
    """Send an error as a whole response."""
    body = answer.body()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"access-control-allow-origin", b"*"),
    ]
    if answer.retry_after is not None:
        headers.append((b"retry-after", b"%d" % answer.retry_after))
    await send(
        {"type": "http.response.start", "status": answer.status, "headers": headers, "trailers": False}
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _given_length(fields: Fields) -> int | None:
    for name, value in fields:
        if name == b"content-length":
            if not value.isdigit() or len(value) > 19:
                raise HeadError(400, "Content-Length is not a number of bytes")
            return int(value)
    return None


def _pairs(lines: list[bytes]) -> Fields:
    split = (line.partition(b":") for line in lines)
    return [(name.lower(), value.strip(b" \t")) for name, _, value in split]
