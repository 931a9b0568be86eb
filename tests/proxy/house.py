"""A listener with formations that answer by script, and clients that speak raw bytes to it."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import h11
import trio

from muxi.proxy.handover import Handover
from muxi.proxy.listener import Listener
from muxi.proxy.sockets import open_listeners
from muxi.registry.routes import RouteTable, Target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hypercorn.typing import ASGIFramework

    from muxi.proxy.certificates import Certificates
    from muxi.proxy.context import Served
    from muxi.proxy.limits import Limits
    from muxi.registry.routes import RoutePolicy

PATIENCE = 20
OURS = (b"Access-Control-Allow-Origin: *", b"X-Request-ID: ")


class Reply(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        values = [value for key, value in self.headers if key.lower() == name]
        assert len(values) < 2, f"{name!r} more than once"
        return values[0] if values else None


class WireClosedError(Exception):
    """The other side closed while more was wanted."""


class Wire:
    """One end of a TCP connection, for tests: every wait has a limit."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.pending = b""

    async def send(self, data: bytes) -> None:
        with trio.fail_after(PATIENCE):
            await self.stream.send_all(data)

    async def receive(self) -> bytes:
        """What has come, or b"" at the end."""
        if self.pending:
            data, self.pending = self.pending, b""
            return data
        with trio.fail_after(PATIENCE):
            return await self.stream.receive_some(65536)

    async def until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`; what comes after it is kept."""
        data = b""
        while mark not in data:
            more = await self.receive()
            if not more:
                raise WireClosedError(data)
            data += more
        end = data.index(mark) + len(mark)
        self.pending = data[end:]
        return data[:end]

    async def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = await self.receive()
            if not more:
                raise WireClosedError(data)
            data += more
        self.pending = data[size:]
        return data[:size]

    async def head(self) -> bytes:
        return await self.until(b"\r\n\r\n")

    async def theirs(self) -> bytes:
        """The next head, without the two fields that the proxy adds."""
        lines = (await self.head()).split(b"\r\n")
        return b"\r\n".join(line for line in lines if not line.startswith(OURS))

    async def rest(self) -> bytes:
        """Everything up to the end."""
        data = b""
        while more := await self.receive():
            data += more
        return data

    async def gone(self) -> bool:
        """Wait until the other side has closed or reset; True if nothing came before."""
        try:
            return await self.receive() == b""
        except trio.BrokenResourceError:
            return True

    def leave(self) -> None:
        """Close with a FIN."""
        self.stream.socket.close()

    def reset(self) -> None:
        """Close with a RST."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.stream.socket.close()

    async def reply(self, method: bytes = b"GET") -> Reply:
        """One response, as h11 understands it; interim ones are passed over."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"x")]))
        parser.send(h11.EndOfMessage())
        status, headers, body = 0, list[tuple[bytes, bytes]](), b""
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                try:
                    parser.receive_data(await self.receive())
                except trio.BrokenResourceError:
                    parser.receive_data(b"")
            elif isinstance(event, h11.Response):
                status, headers = event.status_code, list(event.headers)
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.pending = parser.trailing_data[0]
                return Reply(status, headers, body)

    async def ask(self, request: bytes) -> Reply:
        await self.send(request)
        return await self.reply(request.partition(b" ")[0])


Script = Callable[[Wire], Awaitable[object]]


class House:
    """The listener under test with its routes, and formations behind it."""

    def __init__(self, nursery: trio.Nursery, listener: Listener, routes: RouteTable, port: int) -> None:
        self._nursery = nursery
        self.listener = listener
        self.routes = routes
        self.port = port
        self.clients: list[Wire] = []

    async def formation(self, script: Script, name: str = "bot", policy: RoutePolicy | None = None) -> Target:
        """Publish a formation; `script` runs for each connection made to it."""
        listening = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def converse(stream: trio.SocketStream) -> None:
            async with stream:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError, WireClosedError):
                    await script(Wire(stream))

        await self._nursery.start(trio.serve_listeners, converse, listening)
        target = Target("127.0.0.1", listening[0].socket.getsockname()[1])
        self.routes.publish(name, "running", target, policy)
        return target

    async def connect(self) -> Wire:
        """A client; it is closed with the house at the latest."""
        self.clients.append(Wire(await trio.open_tcp_stream("127.0.0.1", self.port)))
        return self.clients[-1]


async def answer_ok(
    scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """An app that echoes the body with the path before it."""
    assert scope["type"] == "http"
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    content = scope["raw_path"] + b":" + body
    headers = [(b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


@asynccontextmanager
async def open_house(
    app: ASGIFramework = answer_ok,
    *,
    limits: Limits | None = None,
    on_request: Callable[[Served], None] | None = None,
    trusts: Callable[[str], bool] = lambda _: False,
    latest: Callable[[bytes, bytes], bytes | None] | None = None,
    proxy_protocol: bool = False,
    certificates: Certificates | None = None,
    processes: int = 1,
) -> AsyncIterator[House]:
    """A house that is open within the block."""
    routes = RouteTable()
    sockets = open_listeners("127.0.0.1", 0)
    listener = Listener(
        routes,
        Handover(app),
        version="9.9.9",
        limits=limits,
        on_request=on_request,
        trusts=trusts,
        latest=latest,
        proxy_protocol=proxy_protocol,
        certificates=certificates,
        processes=processes,
    )
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.serve, sockets)
            house = House(nursery, listener, routes, sockets[0].getsockname()[1])
            try:
                yield house
            finally:
                for client in house.clients:
                    client.leave()
            nursery.cancel_scope.cancel()
    finally:
        for sock in sockets:
            sock.close()


def canned(response: bytes) -> Script:
    """A formation that reads a head without a body and gives this answer, again and again."""

    async def script(wire: Wire) -> None:
        while True:
            await wire.head()
            await wire.send(response)

    return script


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET /api/bot/x HTTP/1.1\r\nHost: pub.example:7890\r\n\r\n"
