"""Requests that Hypercorn and an app serve: framing, taking back, leaving, and containment."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
import trio
from quart import request
from quart_trio import QuartTrio

from muxi.proxy.connection import Connection
from muxi.proxy.limits import Limits
from tests.proxy.house import GET, OK, Wire, canned, open_house
from tests.waiting import until

PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


def quart_app() -> QuartTrio:
    app = QuartTrio(__name__)

    @app.post("/echo")
    async def echo() -> bytes:
        return bytes(await request.body)

    @app.get("/boom")
    async def boom() -> str:
        raise RuntimeError("on purpose")

    return app


async def test_quart_app_keeps_the_connection_and_gives_it_back() -> None:
    async with open_house(quart_app()) as house:
        await house.formation(canned(OK))
        wire = await house.connect()
        for size in (0, 3, 100_000):
            post = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
            assert (await wire.ask(post)).body == b"x" * size
            assert (await wire.ask(GET)).body == b"ok"
        assert (await wire.ask(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")).status == 404
        assert (await wire.ask(PING)).body == b"pong"
        assert house.listener.tally.connections == 1
        assert house.listener.tally.contained == 0


async def test_failing_app_answers_500() -> None:
    async def broken(scope: Any, receive: Receive, send: Send) -> None:
        raise RuntimeError("on purpose")

    async with open_house(broken) as house:
        assert (await (await house.connect()).ask(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")).status == 500
        assert (await (await house.connect()).ask(PING)).body == b"pong"


async def test_upload_is_streamed_with_backpressure() -> None:
    release = trio.Event()
    got = 0

    async def slow(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal got
        await release.wait()
        while True:
            message = await receive()
            got += len(message["body"])
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % got})

    async with open_house(slow) as house:
        wire = await house.connect()
        size = 96 << 20
        head = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
        await wire.send(head)
        sent = 0
        with trio.move_on_after(0.5):
            while sent < size:
                sent += await wire.stream.socket.send(b"x" * min(1 << 20, size - sent))
        assert sent < size
        release.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.send, b"x" * (size - sent))
            assert (await wire.reply()).body == b"%d" % size
        assert (await wire.ask(PING)).body == b"pong"


async def refuse(scope: Any, receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": b"no"})


async def test_early_401_can_be_read_by_one_who_sends_everything_first() -> None:
    async with open_house(refuse) as house:
        wire = await house.connect()
        size = 4 << 20
        await wire.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        reply = await wire.reply()
        assert (reply.status, reply.body) == (401, b"no")
        assert await wire.gone()


async def test_expect_100_continue() -> None:
    async with open_house() as house:
        wire = await house.connect()
        head = b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        await wire.send(head)
        assert (await wire.head()).startswith(b"HTTP/1.1 100 ")
        await wire.send(b"hello")
        assert (await wire.reply()).body == b"/x:hello"
        assert (await wire.ask(PING)).body == b"pong"


class Follower:
    """An app with an endless event stream that notes how it ended."""

    def __init__(self) -> None:
        self.begun = trio.Event()
        self.ended = trio.Event()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b": hello\n\n", "more_body": True})
        self.begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        self.ended.set()


@pytest.mark.parametrize("leave", [Wire.leave, Wire.reset], ids=["fin", "rst"])
@pytest.mark.parametrize("more", [b"", PING], ids=["alone", "pipelined"])
async def test_client_that_leaves_an_event_stream_is_told_to_the_app(
    leave: Callable[[Wire], None], more: bytes
) -> None:
    follower = Follower()
    async with open_house(follower) as house:
        wire = await house.connect()
        await wire.send(b"GET /follow HTTP/1.1\r\nHost: a\r\n\r\n" + more)
        assert b"hello" in await wire.until(b"\n\n")
        leave(wire)
        with trio.fail_after(20):
            await follower.ended.wait()
        await until(lambda: house.listener.open_connections == 0)


async def test_quart_stream_is_cancelled_when_its_client_leaves() -> None:
    app = QuartTrio(__name__)
    ended = trio.Event()

    @app.get("/follow")
    async def follow() -> Any:
        async def events() -> Any:
            try:
                yield b": hello\n\n"
                await trio.sleep_forever()
            finally:
                ended.set()

        return events(), {"Content-Type": "text/event-stream"}

    async with open_house(app) as house:
        wire = await house.connect()
        await wire.send(b"GET /follow HTTP/1.1\r\nHost: a\r\n\r\n")
        await wire.until(b"\n\n")
        wire.leave()
        with trio.fail_after(20):
            await ended.wait()
        await until(lambda: house.listener.open_connections == 0)


async def test_client_that_does_not_read_is_shut_out_of_the_shield() -> None:
    async def flood(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * (64 << 20)})

    limits = Limits(write_stall_timeout=0.05, sweep_interval=0.01)
    async with open_house(flood, limits=limits) as house:
        wire = await house.connect()
        await wire.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: house.listener.tally.expired >= 1)
        await until(lambda: house.listener.open_connections == 0)


UPGRADE = (
    b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
#: Each of them ends a Hypercorn 0.18 server as a whole when it is not contained.
TRIGGERS = {
    "extra-byte": UPGRADE + b"\r\nx",
    "upgrade-with-body": UPGRADE + b"Content-Length: 3\r\n\r\nabc",
    "non-ascii-protocol": UPGRADE + b"Sec-WebSocket-Protocol: \xe4\r\n\r\n",
    "bad-chunk": b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
}


async def impatient(scope: Any, receive: Receive, send: Send) -> None:
    """Answer as soon as asked, which is what makes the bad chunk a race."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


@pytest.mark.parametrize("app", [impatient, quart_app()], ids=["raw", "quart"])
@pytest.mark.parametrize("trigger", TRIGGERS.values(), ids=TRIGGERS.keys())
async def test_known_triggers_at_the_front_door_hurt_nobody_else(app: Any, trigger: bytes) -> None:
    async with open_house(app) as house:
        await house.formation(canned(OK))
        wire = await house.connect()
        await wire.send(trigger)
        wire.stream.socket.shutdown(socket.SHUT_WR)
        await drained(wire)
        await until(lambda: house.listener.open_connections == 0)
        other = await house.connect()
        assert (await other.ask(GET)).body == b"ok"
        assert (await other.ask(PING)).body == b"pong"


async def drained(wire: Wire) -> None:
    try:
        await wire.rest()
    except trio.BrokenResourceError:
        return


@pytest.mark.parametrize("app", [impatient, quart_app()], ids=["raw", "quart"])
@pytest.mark.parametrize("trigger", TRIGGERS.values(), ids=TRIGGERS.keys())
async def test_known_triggers_hurt_nobody_on_a_connection_that_speaks_http2(app: Any, trigger: bytes) -> None:
    async with open_house(app) as house:
        context = house.listener._context
        ours, theirs = socket.socketpair()
        wire = Wire(trio.SocketStream(trio.socket.from_stdlib_socket(theirs)))
        ours.setblocking(False)
        connection = Connection(context, ours, "127.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(context.handover.pass_through, connection)
            await wire.send(trigger)
            wire.stream.socket.shutdown(socket.SHUT_WR)
            await drained(wire)
        connection._close()
        wire.leave()
        assert (await (await house.connect()).ask(PING)).body == b"pong"


async def test_what_escapes_from_hypercorn_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def escape(self: object, event: object) -> None:
        raise RuntimeError("on purpose")

    async with open_house() as house:
        with monkeypatch.context() as patch:
            patch.setattr("hypercorn.protocol.h11.H11Protocol.handle", escape)
            wire = await house.connect()
            await wire.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await wire.gone()
        assert house.listener.tally.contained == 1
        assert (await (await house.connect()).ask(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")).status == 200


async def test_http2_by_prior_knowledge_is_served_whole() -> None:
    async with open_house() as house:
        wire = await house.connect()
        client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        client.initiate_connection()
        names = [(":method", "GET"), (":path", "/two"), (":scheme", "http"), (":authority", "a")]
        client.send_headers(1, names, end_stream=True)
        await wire.send(client.data_to_send())
        body, ended = b"", False
        while not ended:
            for event in client.receive_data(await wire.receive()):
                if isinstance(event, h2.events.DataReceived):
                    body += event.data or b""
                ended = ended or isinstance(event, h2.events.StreamEnded)
        assert body == b"/two:"
        wire.leave()
        await until(lambda: house.listener.open_connections == 0)
