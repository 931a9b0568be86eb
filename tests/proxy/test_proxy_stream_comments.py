"""Comments into quiet event streams: between events only, and never where they could disturb."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from muxi.proxy.comments import EventBody, is_event_stream
from muxi.proxy.heads import CHUNKED, UNTIL_CLOSE
from muxi.proxy.http1_response import parse_response_head
from muxi.proxy.limits import Limits
from muxi.registry.routes import RoutePolicy
from tests.proxy.house import GET, House, Script, Wire, open_house
from tests.waiting import until

if TYPE_CHECKING:
    from muxi.proxy.connection import Connection

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
CHUNKS = EVENTS + b"Transfer-Encoding: chunked\r\n\r\n"
FAST = Limits(sweep_interval=0.01)
PINGS = RoutePolicy(stream_ping=0.02)
IDLE = 0.3
"""Long enough that a slow machine has sent a head by then."""
PING = b": ping\n\n"
PING_CHUNK = b"8\r\n: ping\n\n\r\n"
HTTP10 = b"GET /api/bot HTTP/1.0\r\n\r\n"


class Stream:
    """A formation that sends the pieces it is given, each when it is told to."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.pieces, self._source = trio.open_memory_channel[bytes](10)

    async def __call__(self, wire: Wire) -> None:
        await wire.head()
        await wire.send(self.head)
        async for piece in self._source:
            await wire.send(piece)

    def send(self, piece: bytes) -> None:
        self.pieces.send_nowait(piece)


async def ask(house: House, script: Script, policy: RoutePolicy = PINGS, request: bytes = GET) -> Wire:
    await house.formation(script)
    house.routes.live[b"bot"].policy = policy
    wire = await house.connect()
    await wire.send(request)
    await wire.head()
    return wire


async def test_a_quiet_chunked_stream_gets_comments_in_chunks_of_their_own() -> None:
    async with open_house(limits=FAST) as house:
        stream = Stream(CHUNKS)
        wire = await ask(house, stream)
        for _ in range(2):
            assert await wire.exactly(len(PING_CHUNK)) == PING_CHUNK
        stream.send(b"9\r\ndata: x\n\n\r\n")
        assert (await wire.until(b"x\n\n\r\n")).replace(PING_CHUNK, b"") == b"9\r\ndata: x\n\n\r\n"
        assert await wire.exactly(len(PING_CHUNK)) == PING_CHUNK
        stream.send(b"0\r\n\r\n")
        assert (await wire.until(b"0\r\n\r\n")).replace(PING_CHUNK, b"") == b"0\r\n\r\n"


async def test_the_whole_is_a_response_that_a_parser_understands() -> None:
    async with open_house(limits=FAST) as house:
        stream = Stream(CHUNKS)
        await house.formation(stream)
        house.routes.live[b"bot"].policy = PINGS
        wire = await house.connect()
        await wire.send(GET)
        head = await wire.head()
        first = await wire.exactly(len(PING_CHUNK))
        stream.send(b"9\r\ndata: x\n\n\r\n0\r\n\r\n")
        wire.pending = head + first + wire.pending
        reply = await wire.reply()
        assert reply.body.replace(PING, b"") == b"data: x\n\n"
        assert PING in reply.body


async def test_until_close_and_for_http10() -> None:
    async with open_house(limits=FAST) as house:
        wire = await ask(house, Stream(EVENTS + b"\r\ndata: x\n\n"))
        assert await wire.exactly(27) == b"9\r\ndata: x\n\n\r\n" + PING_CHUNK
        for number, head in enumerate((EVENTS + b"\r\ndata: x\n\n", CHUNKS + b"9\r\ndata: x\n\n\r\n")):
            await house.formation(Stream(head), f"old{number}")
            house.routes.live[b"old%d" % number].policy = PINGS
            old = await house.connect()
            await old.send(HTTP10.replace(b"bot", b"old%d" % number))
            await old.head()
            assert await old.exactly(17) == b"data: x\n\n" + PING


async def beats(house: House, count: int = 3) -> None:
    """Let the sweep come by; another stream that is commented tells."""
    stream = Stream(CHUNKS)
    await house.formation(stream, "metronome")
    house.routes.live[b"metronome"].policy = PINGS
    wire = await house.connect()
    await wire.send(GET.replace(b"bot", b"metronome"))
    await wire.head()
    for _ in range(count):
        assert await wire.exactly(len(PING_CHUNK)) == PING_CHUNK
    wire.leave()


@pytest.mark.parametrize("piece", [b"data: x", b"data: x\n", b"data: x\r\n", b"\ndata", b"\n\nid"])
async def test_never_within_an_event(piece: bytes) -> None:
    chunk = b"%x\r\n%b\r\n" % (len(piece), piece)
    async with open_house(limits=FAST) as house:
        wire = await ask(house, Stream(CHUNKS + chunk))
        assert await wire.exactly(len(chunk)) == chunk
        await beats(house)
        assert not wire.pending
        with trio.move_on_after(0):
            raise AssertionError(await wire.stream.receive_some())


async def test_never_within_a_chunk_of_the_formation_s() -> None:
    """It goes on in chunks of ours, so what stands between two of them is always well-formed."""
    async with open_house(limits=FAST) as house:
        stream = Stream(CHUNKS + b"12\r\ndata: x\n\n")
        wire = await ask(house, stream)
        assert await wire.exactly(27) == b"9\r\ndata: x\n\n\r\n" + PING_CHUNK
        stream.send(b"data: y\n\n\r\n0\r\n\r\n")
        rest = await wire.until(b"0\r\n\r\n")
        assert rest.replace(PING_CHUNK, b"") == b"9\r\ndata: y\n\n\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n",
        EVENTS + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
        EVENTS + b"Content-Length: 50\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Type: text/event-stream\r\n\r\n",
    ],
    ids=["plain", "encoded", "with a length", "no type"],
)
async def test_never_into_what_is_no_plain_event_stream(head: bytes) -> None:
    async with open_house(limits=FAST) as house:
        wire = await ask(house, Stream(head))
        await beats(house)
        with trio.move_on_after(0):
            raise AssertionError(await wire.stream.receive_some())


async def test_not_unless_it_is_asked_for() -> None:
    async with open_house(limits=FAST) as house:
        wire = await ask(house, Stream(CHUNKS), RoutePolicy())
        await beats(house)
        with trio.move_on_after(0):
            raise AssertionError(await wire.stream.receive_some())


async def test_never_into_a_send_that_is_half_way() -> None:
    async with open_house(limits=FAST) as house:
        event = b"data: " + b"x" * (8 << 20) + b"\n\n"
        stream = Stream(CHUNKS + b"%x\r\n%b\r\n" % (len(event), event) + b"0\r\n\r\n")
        await house.formation(stream)
        house.routes.live[b"bot"].policy = PINGS
        wire = await house.connect()
        await wire.send(GET)
        await until(lambda: any(c.write_deadline < float("inf") for c in house.listener._context.connections))
        await beats(house)
        assert (await wire.reply()).body.replace(PING, b"") == event


async def test_streams_are_counted_and_forgotten() -> None:
    async with open_house(limits=FAST) as house:
        wire = await ask(house, Stream(CHUNKS))
        context, route = house.listener._context, house.routes.live[b"bot"]
        assert route.target is not None
        await until(lambda: len(context.commented) == 1)
        assert (route.target.in_flight, route.target.streams, route.traffic.streams) == (1, 1, 1)
        wire.leave()
        await until(lambda: not context.commented)
        assert (route.target.in_flight, route.target.streams, route.traffic.streams) == (0, 0, 0)


@pytest.mark.parametrize(
    ("policy", "head", "cut"),
    [
        (RoutePolicy(stream_idle_timeout=IDLE), CHUNKS, True),
        (RoutePolicy(response_idle_timeout=IDLE), CHUNKS, False),
        (RoutePolicy(response_idle_timeout=IDLE), b"HTTP/1.1 200 OK\r\n\r\n", True),
        (RoutePolicy(stream_idle_timeout=IDLE), b"HTTP/1.1 200 OK\r\n\r\n", False),
        (RoutePolicy(), CHUNKS, False),
    ],
)
async def test_idle_limits_are_the_policy_s(policy: RoutePolicy, head: bytes, cut: bool) -> None:
    async with open_house(limits=FAST) as house:
        wire = await ask(house, Stream(head), policy)
        if cut:
            with pytest.raises(trio.BrokenResourceError):
                await wire.receive()
            return
        await beats(house, round(IDLE / PINGS.stream_ping) + 3)
        assert house.listener.open_connections >= 1
        with trio.move_on_after(0):
            raise AssertionError(await wire.stream.receive_some())


async def test_a_stream_that_goes_on_is_not_idle() -> None:
    async with open_house(limits=FAST) as house:
        stream = Stream(CHUNKS)
        wire = await ask(house, stream, RoutePolicy(stream_idle_timeout=5))
        for _ in range(5):
            stream.send(b"9\r\ndata: x\n\n\r\n")
            await wire.until(b"x\n\n\r\n")
            (deadline,) = [c.response_deadline for c in house.listener._context.connections]
            assert deadline < trio.current_time() + 6


async def test_a_first_byte_that_does_not_come_is_a_504() -> None:
    async with open_house(limits=FAST) as house:
        await house.formation(Stream(b""))
        house.routes.live[b"bot"].policy = RoutePolicy(response_idle_timeout=0.03)
        reply = await (await house.connect()).ask(GET)
        assert reply.status == 504


async def test_x_accel_buffering_passes() -> None:
    async with open_house() as house:
        await house.formation(Stream(EVENTS + b"X-Accel-Buffering: no\r\n\r\n"))
        wire = await house.connect()
        await wire.send(GET)
        assert b"\r\nX-Accel-Buffering: no\r\n" in await wire.head()


@pytest.mark.parametrize(
    ("fields", "plain", "expected"),
    [
        (b"Content-Type: text/event-stream", True, True),
        (b"content-type:TEXT/Event-Stream;charset=utf-8", True, True),
        (b"Content-Type: text/event-streams", True, False),
        (b"Content-Type: text/event-stream\r\nContent-Encoding: br", True, False),
        (b"Content-Type: text/event-stream\r\nContent-Encoding: br", False, True),
        (b"Content-Encoding: identity\r\nContent-Type: text/event-stream", True, True),
        (b"Server: x", True, False),
    ],
)
def test_what_an_event_stream_is(fields: bytes, plain: bool, expected: bool) -> None:
    head = parse_response_head(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\n", b"GET")
    assert head is not None
    assert is_event_stream(head, plain=plain) is expected


class Socket:
    """Takes so many bytes at most, and keeps them."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken = b""

    def send(self, data: bytes) -> int:
        if not self.room:
            raise BlockingIOError
        part = data[: self.room]
        self.room -= len(part)
        self.taken += part
        return len(part)


def body(sock: Socket, length: int = CHUNKED, *, http11: bool = True) -> EventBody:
    client = SimpleNamespace(
        context=SimpleNamespace(clock=SimpleNamespace(now=0.0)),
        route=SimpleNamespace(policy=RoutePolicy(stream_ping=1.0)),
        sock=sock,
        write_deadline=float("inf"),
    )
    return EventBody(cast("Connection", client), length, http11=http11)


@pytest.mark.parametrize("room", range(len(PING_CHUNK) + 2))
def test_a_comment_taken_in_part_is_completed_by_what_comes_next(room: int) -> None:
    sock = Socket(room)
    events = body(sock)
    events.comment_if_quiet(1.0)
    events.comment_if_quiet(5.0)
    sent = sock.taken + events.take(b"9\r\ndata: x\n\n\r\n")
    assert sent.replace(PING_CHUNK, b"").startswith(b"9\r\ndata: x\n\n\r\n") or room > len(PING_CHUNK)
    assert sent.count(b": ping") <= 2
    assert sent.endswith(b"9\r\ndata: x\n\n\r\n")


LINES = st.lists(st.sampled_from(["data: x", ": c", "", "id: 1"]), max_size=8)


@given(LINES, st.sampled_from(["\n", "\r", "\r\n"]), st.data())
def test_between_events_is_after_a_blank_line_only(lines: list[str], end: str, data: st.DataObject) -> None:
    text = "".join(line + end for line in lines).encode()
    cut = data.draw(st.integers(0, len(text)))
    events = body(Socket(0), UNTIL_CLOSE)
    at = 0
    for stop in [*sorted(data.draw(st.sets(st.integers(0, cut), max_size=4))), cut]:
        events.take(text[at:stop])
        at = stop
    complete = text[:cut].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert events.between_events == (not complete or complete.endswith(b"\n\n"))


@given(st.lists(st.binary(max_size=20), max_size=5), st.data())
def test_its_payload_is_what_came(parts: list[bytes], data: st.DataObject) -> None:
    stream = (
        b"".join(b"%x;x=y\r\n%b\r\n" % (len(part), part) for part in parts if part) + b"0\r\nT: 1\r\n\r\nrest"
    )
    events, out, at = body(Socket(0), http11=False), b"", 0
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=6)))
    for stop in [*cuts, len(stream)]:
        if not events.done:
            out += events.take(stream[at:stop])
            at = stop
    assert out == b"".join(parts)
    assert events.done
    assert events.surplus + stream[at:] == b"rest"
