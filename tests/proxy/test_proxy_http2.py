"""HTTP/2: the proxy's paths by the same forwarding code, the app, and what a client can do wrong."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import h11
import pytest
import trio
from quart import request
from quart_trio import QuartTrio

from muxi.proxy import http2
from muxi.proxy.limits import Limits
from tests.proxy.h2_client import H2Client, H2Stream
from tests.proxy.house import GET, OK, House, Wire, answer_ok, canned, open_house
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def h2(house: House, *, greedy: bool = True) -> H2Client:
    client = H2Client((await house.connect()).stream, greedy=greedy)
    await client.start()
    return client


@asynccontextmanager
async def open_h2(app: Any = answer_ok, **options: Any) -> AsyncIterator[tuple[House, H2Client]]:
    async with open_house(app, **options) as house:
        yield house, await h2(house)


def answering(*responses: bytes, seen: list[bytes] | None = None) -> Any:
    """A formation that reads a head, without a body, before each of its responses."""

    async def script(wire: Wire) -> None:
        for response in responses:
            head = await wire.head()
            if seen is not None:
                seen.append(head)
            await wire.send(response)
        await wire.rest()

    return script


async def echo(wire: Wire) -> None:
    """A formation that answers with the body of each request."""
    while True:
        parser = h11.Connection(h11.SERVER)
        body = b""
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                data = await wire.receive()
                if not data:
                    return
                parser.receive_data(data)
            elif isinstance(event, h11.Data):
                body += event.data
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


async def test_a_request_reaches_the_formation_as_http1_would() -> None:
    seen: list[bytes] = []
    async with open_h2() as (house, client):
        await house.formation(answering(OK, OK, seen=seen))
        crumbs = ((b"cookie", b"a=1"), (b"x-odd", b"\xe4 v"), (b"cookie", b"b=2"))
        reply = await client.ask(b"/api/bot/a%2Fb//c?", *crumbs)
        assert (reply.status, reply.body, reply.header(b"content-length")) == (200, b"ok", b"2")
        lines = seen[0].split(b"\r\n")
        assert lines[0] == b"GET /a%2Fb//c? HTTP/1.1"
        assert b"cookie: a=1; b=2" in lines
        assert b"x-odd: \xe4 v" in lines
        assert b"X-Forwarded-Host: pub.example:7890" in lines
        assert b"X-Forwarded-For: 127.0.0.1" in lines
        assert b"X-Forwarded-Proto: http" in lines
        assert not any(line.lower().startswith((b"transfer-encoding", b"content-length")) for line in lines)
        assert (await client.ask(b"/api/bot/again")).body == b"ok"
        assert house.listener.tally.connections == 1


async def test_all_else_is_the_apps() -> None:
    async with open_h2() as (_, client):
        assert (await client.ask(b"/two%20x")).body == b"/two%20x:"
        number = await client.begin(b"/post", method=b"POST", end=False)
        await client.send(number, b"hello", end=True)
        assert (await client.reply(number)).body == b"/post:hello"


@pytest.mark.parametrize("length", [True, False], ids=["content-length", "chunked"])
async def test_bodies_go_both_ways(length: bool) -> None:
    body = bytes(range(256)) * 4096
    async with open_h2() as (house, client):
        await house.formation(echo)
        for part in (body, b"", b"x"):
            extra = [(b"content-length", b"%d" % len(part))] if length else []
            number = await client.begin(b"/api/bot/x", *extra, method=b"POST", end=False)
            await client.send(number, part, end=True)
            reply = await client.reply(number)
            assert (reply.status, reply.body == part) == (200, True)


async def test_an_upload_waits_for_the_formation_and_others_do_not() -> None:
    release = trio.Event()
    got = 0

    async def slow(wire: Wire) -> None:
        nonlocal got
        head = await wire.head()
        if b"/quick" in head:
            await wire.send(OK)
            return
        await release.wait()
        while got < size:
            got += len(await wire.receive())
        await wire.send(OK)

    size = 24 << 20
    async with open_h2() as (house, client):
        await house.formation(slow)
        number = await client.begin(
            b"/api/bot/slow", (b"content-length", b"%d" % size), method=b"POST", end=False
        )
        sent = 0
        while sent < size:
            room = min(client.h2.local_flow_control_window(number), client.h2.max_outbound_frame_size)
            if room:
                await client.send(number, b"x" * room)
                sent += room
                continue
            with trio.move_on_after(0.5) as quiet:
                await client.pump()
            if quiet.cancelled_caught:
                break
        assert 0 < sent < size
        other = await client.begin(b"/api/bot/quick")
        assert (await client.reply(other)).body == b"ok"
        release.set()
        await client.send(number, b"x" * (size - sent), end=True)
        assert (await client.reply(number)).body == b"ok"


async def test_a_slow_app_does_not_hold_up_other_streams() -> None:
    release = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            await release.wait()
        await answer_ok(scope, receive, send)

    async with open_h2(app) as (_, client):
        slow = await client.begin(b"/slow", method=b"POST", end=False)
        for _ in range(60):
            await client.send(slow, b"x" * 1000)
        assert (await client.ask(b"/quick")).body == b"/quick:"
        release.set()
        await client.send(slow, b"", end=True)
        assert (await client.reply(slow)).body == b"/slow:" + b"x" * 60_000


async def test_a_client_that_takes_nothing_stops_the_formation() -> None:
    sent = 0

    async def flood(wire: Wire) -> None:
        nonlocal sent
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (256 << 20))
        while True:
            await wire.send(b"x" * (1 << 20))
            sent += 1 << 20

    limits = Limits(write_stall_timeout=0.2, sweep_interval=0.01)
    async with open_house(limits=limits) as house:
        target = await house.formation(flood)
        client = await h2(house, greedy=False)
        reply = await client.reply(await client.begin(b"/api/bot/x"))
        assert reply.reset == 2
        assert sent < 64 << 20
        await until(lambda: target.in_flight == 0)


async def test_events_come_one_by_one() -> None:
    next_one = trio.Event()

    async def stream(wire: Wire) -> None:
        await wire.head()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        await wire.send(head)
        await wire.send(b"9\r\ndata: 1\n\n\r\n")
        await next_one.wait()
        await wire.send(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    async with open_h2() as (house, client):
        await house.formation(stream)
        number = await client.begin(b"/api/bot/events")
        reply = client.streams[number]
        await client.until(lambda: reply.body == b"data: 1\n\n")
        assert reply.header(b"transfer-encoding") is None
        next_one.set()
        assert (await client.reply(number)).body == b"data: 1\n\ndata: 2\n\n"


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_client_that_leaves_is_told_to_the_formation_at_once(how: str) -> None:
    gone = trio.Event()

    async def stream(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        assert await wire.gone()
        gone.set()

    async with open_h2() as (house, client):
        target = await house.formation(stream)
        number = await client.begin(b"/api/bot/events")
        await client.until(lambda: client.streams[number].body == b"x")
        if how == "reset":
            await client.cancel(number)
        else:
            house.clients[0].leave()
        with trio.fail_after(20):
            await gone.wait()
        await until(lambda: target.in_flight == 0)
        if how == "reset":
            assert (await client.ask(b"/app")).body == b"/app:"
        else:
            await until(lambda: house.listener.open_connections == 0)


async def test_responses_without_a_body() -> None:
    responses = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
    )
    async with open_h2() as (house, client):
        await house.formation(answering(*responses))
        head = await client.ask(b"/api/bot/x", method=b"HEAD")
        assert (head.status, head.body, head.header(b"content-length")) == (200, b"", b"5")
        assert ((await client.ask(b"/api/bot/x")).status, (await client.ask(b"/api/bot/x")).status) == (
            204,
            304,
        )


async def test_trailers_and_interim_responses() -> None:
    response = (
        b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        b"2\r\nok\r\n0\r\nX-Sum: 9\r\n\r\n"
    )
    async with open_h2() as (house, client):
        await house.formation(answering(response, response))
        reply = await client.ask(b"/api/bot/x", (b"te", b"trailers"))
        assert (reply.interim, reply.body, reply.trailers) == ([103], b"ok", [(b"x-sum", b"9")])
        reply = await client.ask(b"/api/bot/x")
        assert (reply.body, reply.trailers) == (b"ok", None)


async def test_trailers_announced_and_not_sent() -> None:
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n0\r\n\r\n"
    async with open_h2() as (house, client):
        await house.formation(answering(response))
        reply = await client.ask(b"/api/bot/x", (b"te", b"trailers"))
        assert (reply.status, reply.body, reply.ended) == (200, b"", True)


async def test_expect_100_continue() -> None:
    async def patient(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await wire.exactly(5) == b"hello"
        await wire.send(OK)

    async with open_h2() as (house, client):
        await house.formation(patient)
        extra = ((b"expect", b"100-continue"), (b"content-length", b"5"))
        number = await client.begin(b"/api/bot/x", *extra, method=b"POST", end=False)
        await client.until(lambda: client.streams[number].interim == [100])
        await client.send(number, b"hello", end=True)
        assert (await client.reply(number)).body == b"ok"


async def test_errors_are_the_proxys() -> None:
    async with open_h2() as (house, client):
        house.routes.publish("off", "stopped", None)
        nobody, off = await client.ask(b"/api/nobody"), await client.ask(b"/mcp/off")
        assert (nobody.status, off.status) == (404, 503)
        assert b"FORMATION_NOT_FOUND" in nobody.body
        assert off.header(b"retry-after") is not None


async def test_a_cut_response_is_reset() -> None:
    async def liar(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort")

    async with open_h2() as (house, client):
        await house.formation(liar)
        reply = await client.ask(b"/api/bot/x")
        assert (reply.status, reply.ended, reply.reset) == (200, False, 2)
        assert (await client.ask(b"/app")).body == b"/app:"


async def test_an_app_that_fails_half_way_is_reset() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("on purpose")

    async with open_h2(broken) as (_, client):
        reply = await client.ask(b"/x")
        assert (reply.status, reply.ended, reply.reset) == (200, False, 2)


async def test_an_early_answer_leaves_the_other_streams_alone() -> None:
    async with open_h2() as (house, client):
        await house.formation(canned(OK))
        number = await client.begin(b"/api/nobody", method=b"POST", end=False)
        reply = client.streams[number]
        await client.until(lambda: reply.reset is not None)
        assert (reply.status, reply.ended, reply.reset) == (404, True, 0)
        assert (await client.ask(b"/api/bot/x")).body == b"ok"


async def test_data_that_nobody_takes_gives_the_window_back() -> None:
    async def deaf(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/deaf":
            await send({"type": "http.response.start", "status": 413, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await answer_ok(scope, receive, send)

    async with open_h2(deaf) as (_, client):
        for _ in range(12):
            number = await client.begin(b"/deaf", method=b"POST", end=False)
            client.h2.send_data(number, b"x" * 16384)
            client.h2.send_data(number, b"x" * 16384)
            await client.flush()
            assert (await client.reply(number)).status == 413
        number = await client.begin(b"/heard", method=b"POST", end=False)
        body = b"x" * (2 << 20)
        await client.send(number, body, end=True)
        assert (await client.reply(number)).body == b"/heard:" + body


MALFORMED = {
    "transfer-encoding": (b"transfer-encoding", b"chunked"),
    "connection": (b"connection", b"close"),
    "keep-alive": (b"keep-alive", b"1"),
    "te": (b"te", b"gzip"),
    "upgrade": (b"upgrade", b"websocket"),
    "cr-lf": (b"x", b"a\r\nx-injected: 1"),
    "lf": (b"x", b"a\nb"),
    "nul": (b"x", b"a\x00b"),
    "name-cr-lf": (b"x\r\ny", b"a"),
    "name-colon": (b"x:y", b"a"),
    "name-space": (b"x y", b"a"),
    "name-upper": (b"X-Upper", b"a"),
    "name-empty": (b"", b"a"),
    "host": (b"host", b"elsewhere\r\nx: y"),
    "length-word": (b"content-length", b"+5"),
    "length-two": (b"content-length", b"5, 5"),
}


@pytest.mark.parametrize("field", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_fields_reach_nobody(field: tuple[bytes, bytes]) -> None:
    heard: list[bytes] = []
    async with open_h2() as (house, client):
        await house.formation(answering(OK, OK, seen=heard))
        number = await client.begin(b"/api/bot/x", field)
        await refused(client, number)
        assert not heard
        assert (await (await house.connect()).ask(GET)).body == b"ok"


async def refused(client: H2Client, number: int) -> None:
    """Wait for a 4xx, a reset, or the end of the connection: which one, h2 and we may choose."""
    stream = client.streams[number]
    while not (client.closed or client.goaway is not None or stream.over):
        await client.pump()
    assert client.closed or client.goaway or stream.reset or 400 <= stream.status < 500


@pytest.mark.parametrize(
    ("path", "method", "authority"),
    [
        (b"/api/bot/a b", b"GET", b"a"),
        (b"/api/bot/a\r\nX: y", b"GET", b"a"),
        (b"/api/bot/\xe4", b"GET", b"a"),
        (b"api/bot/x", b"GET", b"a"),
        (b"http://a/api/bot/x", b"GET", b"a"),
        (b"/api/bot/x", b"GET /y HTTP/1.1\r\nX:", b"a"),
        (b"/api/bot/x", b"", b"a"),
        (b"/api/bot/x", b"G\xe4T", b"a"),
        (b"/api/bot/x", b"GET", b"user@a"),
        (b"/api/bot/x", b"GET", b"a\r\nX: y"),
        (b"/api/bot/x", b"GET", b"a/b"),
    ],
)
async def test_malformed_pseudo_headers_reach_nobody(path: bytes, method: bytes, authority: bytes) -> None:
    heard: list[bytes] = []
    async with open_h2() as (house, client):
        await house.formation(answering(OK, OK, seen=heard))
        await refused(client, await client.begin(path, method=method, authority=authority))
        assert not heard
        assert (await (await house.connect()).ask(GET)).body == b"ok"
        assert house.listener.tally.contained == 0


@pytest.mark.parametrize(("length", "body"), [(b"5", b"x" * 4), (b"5", b"x" * 6), (b"0", b"x")])
async def test_a_wrong_content_length_reaches_no_one_whole(length: bytes, body: bytes) -> None:
    whole: list[bytes] = []

    async def script(wire: Wire) -> None:
        head = await wire.head()
        if b"Content-Length: 0" not in head:
            whole.append(await wire.exactly(5))

    async with open_h2() as (house, client):
        await house.formation(script)
        number = await client.begin(b"/api/bot/x", (b"content-length", length), method=b"POST", end=False)
        client.h2.send_data(number, body, end_stream=True)
        await client.flush()
        await client.gone()
        await until(lambda: house.listener.open_connections == 0)
        assert not whole


async def test_connect_and_websockets_are_answered_501() -> None:
    async with open_h2() as (_, client):
        number = client.h2.get_next_available_stream_id()
        for fields in (
            [(b":method", b"CONNECT"), (b":authority", b"a:1")],
            [
                (b":method", b"CONNECT"),
                (b":protocol", b"websocket"),
                (b":scheme", b"http"),
                (b":path", b"/api/bot/ws"),
                (b":authority", b"a"),
            ],
        ):
            stream = client.streams[number] = H2Stream()
            client.h2.send_headers(number, fields, end_stream=True)
            await client.flush()
            await client.until(lambda: stream.over or client.closed)  # noqa: B023 - awaited here
            assert stream.status == 501
            number += 2
        assert (await client.ask(b"/app")).body == b"/app:"


async def test_a_flood_of_cancelled_requests_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "MAX_CANCELLED", 5)
    async with open_house() as house:
        target = await house.formation(Wire.rest)
        client = await h2(house)
        for _ in range(6):
            await client.cancel(await client.begin(b"/api/bot/x"))
        await client.gone()
        assert client.goaway == 11
        await until(lambda: house.listener.open_connections == 0 and target.in_flight == 0)


async def test_an_idle_connection_ends_with_the_listener_and_a_busy_one_after_its_request() -> None:
    going = trio.Event()

    async def slow(wire: Wire) -> None:
        await wire.head()
        await going.wait()
        await wire.send(OK)

    async with open_house() as house:
        await house.formation(slow)
        idle, busy = await h2(house), await h2(house)
        assert (await idle.ask(b"/x")).status == 200
        number = await busy.begin(b"/api/bot/x")
        await until(lambda: house.listener.tally.requests == 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.listener.drain, 20.0)
            await idle.gone()
            going.set()
            assert (await busy.reply(number)).body == b"ok"
            await busy.gone()


def quart_app() -> QuartTrio:
    app = QuartTrio(__name__)

    @app.post("/echo")
    async def echo() -> bytes:
        return bytes(await request.body)

    @app.get("/boom")
    async def boom() -> str:
        raise RuntimeError("on purpose")

    return app


async def test_quart_is_served() -> None:
    async with open_h2(quart_app()) as (_, client):
        number = await client.begin(b"/echo", method=b"POST", end=False)
        await client.send(number, b"x" * 300_000, end=True)
        assert (await client.reply(number)).body == b"x" * 300_000
        assert (await client.ask(b"/boom")).status == 500
        assert (await client.ask(b"/nowhere")).status == 404


#: Bytes after the preface and the client's settings; each is wrong, or hurt Hypercorn.
TRIGGERS = {
    "garbage": b"\xff" * 64,
    "data-on-idle-stream": b"\x00\x00\x01\x00\x00\x00\x00\x00\x05x",
    "headers-on-stream-0": b"\x00\x00\x01\x01\x05\x00\x00\x00\x00\x82",
    "bad-hpack": b"\x00\x00\x02\x01\x05\x00\x00\x00\x01\xff\xff",
    "giant-frame": b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    "priority-on-itself": b"\x00\x00\x05\x02\x00\x00\x00\x00\x01\x00\x00\x00\x01\x10",
    "continuation-alone": b"\x00\x00\x01\x09\x04\x00\x00\x00\x01\x82",
    "window-of-zero": b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    "many-priorities": b"".join(
        b"\x00\x00\x05\x02\x00" + number.to_bytes(4, "big") + b"\x00\x00\x00\x00\x10"
        for number in range(1, 3001, 2)
    ),
}


@pytest.mark.parametrize("trigger", TRIGGERS.values(), ids=TRIGGERS.keys())
async def test_what_breaks_one_connection_hurts_nobody_else(trigger: bytes) -> None:
    async with open_house(quart_app()) as house:
        await house.formation(canned(OK))
        client = await h2(house)
        await client.stream.send_all(trigger)
        house.clients[0].stream.socket.shutdown(socket.SHUT_WR)
        await house.clients[0].rest()
        await until(lambda: house.listener.open_connections == 0)
        assert (await (await h2(house)).ask(b"/api/bot/x")).body == b"ok"


async def test_a_formation_that_can_not_be_reached_is_502() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    async with open_h2() as (house, client):
        target = await house.formation(canned(OK))
        target.port = port
        reply = await client.ask(b"/api/bot/x")
        assert reply.status == 502


async def test_what_escapes_from_hypercorn_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def escape(self: object, stream_id: int) -> None:
        raise KeyError("on purpose")

    async with open_house() as house:
        await house.formation(canned(OK))
        with monkeypatch.context() as patch:
            patch.setattr("muxi.proxy.http2.Http2._send_data", escape)
            patch.setattr("muxi.proxy.handover.log.error", lambda *_, **__: None)
            client = await h2(house)
            await client.begin(b"/api/bot/x")
            await client.gone()
            await until(lambda: house.listener.open_connections == 0)
        assert house.listener.tally.contained == 1
        assert (await (await h2(house)).ask(b"/api/bot/x")).body == b"ok"


async def test_the_apps_event_streams_end_with_the_listener_and_formations_go_on() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b": hello", "more_body": True})
        await trio.sleep_forever()

    going = trio.Event()

    async def stream(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello")
        await going.wait()
        await wire.send(b", and goodbye")

    async with open_h2(app) as (house, client):
        await house.formation(stream)
        ours, theirs = await client.begin(b"/log"), await client.begin(b"/api/bot/x")
        await client.until(lambda: all(client.streams[at].body == b": hello" for at in (ours, theirs)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.listener.drain, 20.0)
            assert (await client.reply(ours)).reset is not None
            going.set()
            assert (await client.reply(theirs)).body == b": hello, and goodbye"
            await client.gone()


async def test_streams_are_requests_under_way_and_not_connections() -> None:
    released = trio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await released.wait()
        await wire.send(OK)

    async with open_h2(limits=Limits(max_connections=2, max_concurrent=3)) as (house, client):
        await house.formation(script)
        numbers = [await client.begin(b"/api/bot/x") for _ in range(3)]
        await until(lambda: house.listener.tally.in_flight == 3)
        status = house.listener.status()
        assert (status["connections"], status["requests"]) == (1, 3)
        # There is room for another connection, and for no other request.
        other = await house.connect()
        assert (await other.ask(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")).status == 200
        assert (await other.ask(GET)).status == 503
        assert house.listener.tally.refused_connections == 0
        assert house.listener.tally.connections == 2
        released.set()
        for number in numbers:
            assert (await client.reply(number)).status == 200


async def test_streams_leave_the_last_descriptors_to_who_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    with trio.socket.socket() as probe:
        lowest = probe.fileno()
    monkeypatch.setattr("muxi.proxy.listener.descriptor_ceiling", lambda: lowest + 40)

    async def script(wire: Wire) -> None:
        await wire.head()
        await trio.sleep_forever()

    async with open_h2() as (house, client):
        await house.formation(script)
        for _ in range(40):
            await client.begin(b"/api/bot/x")
        await until(lambda: house.listener.tally.refused_requests > 0)
        assert house.listener.tally.in_flight < 20
        assert (await client.ask(b"/two")).status == 200
