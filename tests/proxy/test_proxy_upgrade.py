"""WebSockets and other upgrades: tunnelled byte for byte, ended in good order."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import trio
import wsproto
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.events import Request as Hello

from muxi.proxy.frames import close_frame
from muxi.proxy.limits import Limits
from muxi.registry.routes import RoutePolicy
from tests.proxy.house import GET, OK, House, Wire, canned, open_house
from tests.waiting import until

ASK = (
    b"GET /api/bot/ws?x=1 HTTP/1.1\r\nHost: pub.example\r\n"
    b"Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Key: abc\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Mine: 1\r\n"
    b"Sec-WebSocket-Accept: xyz\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
)
FAST = Limits(sweep_interval=0.01)


class Far:
    """A formation that switches protocols, and then is driven by the test."""

    def __init__(self, switch: bytes = SWITCH) -> None:
        self.switch = switch
        self.head = b""
        self._made, self._over = trio.Event(), trio.Event()
        self._wire: Wire

    async def __call__(self, wire: Wire) -> None:
        self.head = await wire.head()
        await wire.send(self.switch)
        self._wire = wire
        self._made.set()
        await self._over.wait()

    async def wire(self) -> Wire:
        with trio.fail_after(20):
            await self._made.wait()
        return self._wire

    def hang_up(self) -> None:
        self._over.set()


async def tunnel(house: House, request: bytes = ASK, far: Far | None = None) -> tuple[Wire, Wire, Far]:
    """Open one; give the client's and the formation's ends."""
    far = far or Far()
    await house.formation(far)
    wire = await house.connect()
    await wire.send(request)
    assert (await wire.head()).startswith(b"HTTP/1.1 101 ")
    return wire, await far.wire(), far


async def test_the_heads_pass_with_upgrade_and_all_else_that_belongs() -> None:
    async with open_house() as house:
        far = Far()
        await house.formation(far)
        wire = await house.connect()
        await wire.send(ASK)
        head = await wire.head()
        for line in (
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"X-Mine: 1",
            b"Sec-WebSocket-Accept: xyz",
        ):
            assert head.count(b"\r\n" + line + b"\r\n") == 1
        assert far.head.startswith(b"GET /ws?x=1 HTTP/1.1\r\n")
        for line in (b"Upgrade: WebSocket", b"Connection: Upgrade", b"Sec-WebSocket-Key: abc"):
            assert far.head.count(b"\r\n" + line + b"\r\n") == 1
        assert b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in far.head


async def test_bytes_pass_both_ways_also_those_read_ahead() -> None:
    async with open_house() as house:
        wire, far, _ = await tunnel(house, ASK + b"early", Far(SWITCH + b"first"))
        assert await wire.exactly(5) == b"first"
        assert await far.exactly(5) == b"early"
        for piece in (b"", b"\x81\x80", bytes(range(256)) * 300):
            await far.send(piece)
            assert await wire.exactly(len(piece)) == piece
            await wire.send(piece)
            assert await far.exactly(len(piece)) == piece


async def test_bulk_both_ways_at_once() -> None:
    size = 4 << 20
    async with open_house() as house:
        wire, far, _ = await tunnel(house)
        got: dict[str, bytes] = {}

        async def take(name: str, end: Wire) -> None:
            got[name] = await end.exactly(size)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.send, b"u" * size)
            nursery.start_soon(far.send, b"d" * size)
            nursery.start_soon(take, "down", wire)
            nursery.start_soon(take, "up", far)
        assert got == {"up": b"u" * size, "down": b"d" * size}
        traffic = house.routes.live[b"bot"].traffic
        wire.leave()
        far.leave()
        await until(lambda: traffic.tunnels == 0)
        assert (traffic.bytes_in, traffic.bytes_out) == (size, size)


@pytest.mark.parametrize("first", ["client", "formation"])
async def test_each_direction_ends_by_itself(first: str) -> None:
    async with open_house() as house:
        wire, far, _ = await tunnel(house)
        one, other = (wire, far) if first == "client" else (far, wire)
        await one.send(b"bye")
        await one.stream.send_eof()
        assert await other.rest() == b"bye"
        await other.send(b"more, and more")
        assert await one.exactly(14) == b"more, and more"
        assert house.listener.open_connections == 1
        await other.stream.send_eof()
        assert await one.rest() == b""
        await until(lambda: house.listener.open_connections == 0)


async def test_counts() -> None:
    async with open_house() as house:
        wire, far, _ = await tunnel(house)
        target = house.routes.live[b"bot"].target
        assert target is not None
        assert (target.in_flight, target.tunnels, target.streams) == (1, 1, 0)
        wire.leave()
        assert await far.gone()
        far.leave()
        await until(lambda: (target.in_flight, target.tunnels) == (0, 0))


async def test_a_reset_of_the_formation_is_one_for_the_client() -> None:
    async with open_house() as house:
        wire, far, _ = await tunnel(house)
        far.reset()
        with pytest.raises(trio.BrokenResourceError):
            await wire.receive()


async def test_a_reset_of_the_client_ends_the_formation_s_side() -> None:
    async with open_house() as house:
        wire, far, _ = await tunnel(house)
        wire.reset()
        assert await far.gone()
        await until(lambda: house.listener.open_connections == 0)


@pytest.mark.parametrize("status", [b"200 OK", b"426 Upgrade Required", b"401 Unauthorized"])
async def test_another_answer_is_an_ordinary_one(status: bytes) -> None:
    async with open_house() as house:
        no = b"HTTP/1.1 " + status + b"\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno"
        await house.formation(canned(no))
        wire = await house.connect()
        await wire.send(ASK + GET)
        for _ in range(2):
            reply = await wire.reply()
            assert (b"%d" % reply.status, reply.body) == (status[:3], b"no")
            assert reply.header(b"upgrade") == (b"websocket" if reply.status == 426 else None)


async def test_a_kept_connection_is_not_used_for_it() -> None:
    made = 0

    async def script(wire: Wire) -> None:
        nonlocal made
        made += 1
        while True:
            head = await wire.head()
            await wire.send(SWITCH if b"Upgrade" in head else OK)

    async with open_house() as house:
        await house.formation(script)
        wire = await house.connect()
        assert (await wire.ask(GET)).body == b"ok"
        await wire.send(ASK)
        assert b" 101 " in await wire.head()
        assert made == 2


HTTP10 = b"GET /api/bot HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
H2C = (
    b"GET /api/bot HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
)
UNNAMED = b"GET /api/bot HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"
CHUNKED = ASK[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
WAITING = ASK[:-2] + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\nok"


@pytest.mark.parametrize(
    "request_",
    [HTTP10, H2C, UNNAMED, CHUNKED, WAITING],
    ids=["http1.0", "h2c", "unnamed", "chunked", "expect"],
)
async def test_a_wish_that_we_do_not_pass_on(request_: bytes) -> None:
    heads = []

    async def script(wire: Wire) -> None:
        heads.append(await wire.head())
        await wire.send(OK)

    async with open_house() as house:
        await house.formation(script)
        reply = await (await house.connect()).ask(request_)
        assert reply.body == b"ok"
        assert b"upgrade" not in heads[0].lower()
        assert b"http2-settings" not in heads[0].lower()


async def test_one_of_several_protocols_may_be_passed_on() -> None:
    async with open_house() as house:
        _, _, far = await tunnel(house, ASK.replace(b"WebSocket\r\n", b"h2c, TCP/1, WebSocket\r\n"))
        assert b"\r\nUpgrade: TCP/1, WebSocket\r\n" in far.head


async def test_a_small_body_goes_before_the_switch() -> None:
    bodies = []

    class Exec(Far):
        async def __call__(self, wire: Wire) -> None:
            head = await wire.head()
            bodies.append(await wire.exactly(4))
            wire.pending = head
            await super().__call__(wire)

    async with open_house() as house:
        far = Exec(SWITCH.replace(b"websocket", b"tcp"))
        await house.formation(far)
        wire = await house.connect()
        await wire.send(ASK.replace(b"WebSocket", b"tcp")[:-2] + b"Content-Length: 4\r\n\r\nbo")
        await until(lambda: house.listener.tally.requests == 1)
        await wire.send(b"dy")
        assert b" 101 " in await wire.head()
        await wire.send(b"raw")
        assert await (await far.wire()).exactly(3) == b"raw"
        assert bodies == [b"body"]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"HTTP/1.1 101 X\r\nUpgr"])
async def test_a_switch_that_is_none(answer: bytes) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(answer)

    async with open_house() as house:
        await house.formation(script)
        wire = await house.connect()
        assert (await wire.ask(ASK)).status == 502
        assert house.listener.tally.contained == 0


async def test_no_connection_for_it() -> None:
    async with open_house() as house:
        target = await house.formation(canned(OK))
        house.routes.live[b"bot"].policy = RoutePolicy(hold_timeout=0)
        target.port = 1
        assert (await (await house.connect()).ask(ASK)).status == 502


TO_CLIENT = close_frame(1001)
TEXT = b"\x81\x05hello"


def is_masked_close(data: bytes) -> bool:
    mask = data[2:6]
    return (
        data[:2] == b"\x88\x82" and bytes(a ^ b for a, b in zip(data[6:], mask, strict=False)) == b"\x03\xe9"
    )


async def test_an_announced_end_is_told_to_both_sides() -> None:
    async with open_house() as house:
        wire, far, held = await tunnel(house)
        target = house.routes.live[b"bot"].target
        assert target is not None
        await far.send(TEXT)
        assert await wire.exactly(7) == TEXT
        house.routes.end(target)
        assert await wire.rest() == TO_CLIENT
        assert is_masked_close(await far.rest())
        # Both answer as the protocol wants; nothing of that is passed on any more.
        await wire.send(b"\x88\x82abcdxx")
        await far.send(b"\x88\x02\x03\xe9")
        wire.leave()
        held.hang_up()
        await until(lambda: house.listener.open_connections == 0)
        assert house.listener.tally.expired == 0


async def test_what_is_within_a_frame_is_ended_first() -> None:
    async with open_house(limits=FAST) as house:
        wire, far, _ = await tunnel(house)
        target = house.routes.live[b"bot"].target
        assert target is not None
        await far.send(TEXT[:3])
        assert await wire.exactly(3) == TEXT[:3]
        house.routes.end(target)
        await far.send(TEXT[3:] + b"\x81\x01x")
        assert await wire.rest() == TEXT[3:] + TO_CLIENT


async def test_a_frame_that_does_not_end_is_not_waited_for_long() -> None:
    async with open_house(limits=FAST) as house:
        wire, far, _ = await tunnel(house)
        target = house.routes.live[b"bot"].target
        assert target is not None
        await far.send(TEXT[:3])
        assert await wire.exactly(3) == TEXT[:3]
        house.routes.end(target)
        assert is_masked_close(await far.rest())
        assert await wire.gone()


async def test_who_has_said_goodbye_is_not_told_again() -> None:
    async with open_house() as house:
        wire, far, _ = await tunnel(house)
        target = house.routes.live[b"bot"].target
        assert target is not None
        goodbye = b"\x88\x02\x03\xe8"
        await far.send(goodbye)
        assert await wire.exactly(4) == goodbye
        house.routes.end(target)
        assert await wire.rest() == b""


async def test_what_is_no_websocket_is_closed_without_a_frame() -> None:
    async with open_house() as house:
        raw = ASK.replace(b"WebSocket", b"tcp"), Far(SWITCH.replace(b": websocket", b": tcp"))
        wire, far, _ = await tunnel(house, *raw)
        target = house.routes.live[b"bot"].target
        assert target is not None
        house.routes.end(target)
        assert await wire.rest() == b""
        assert await far.rest() == b""


async def test_an_idle_tunnel_is_left_alone_unless_the_policy_says_otherwise() -> None:
    limits = Limits(head_timeout=0.3, idle_timeout=0.3, body_idle_timeout=0.3, sweep_interval=0.01)
    async with open_house(limits=limits) as house:
        wire, far, _ = await tunnel(house)
        assert await (await house.connect()).gone()  # So the sweep has come by.
        await far.send(TEXT)
        assert await wire.exactly(7) == TEXT
        route = house.routes.live[b"bot"]
        route.policy = replace(route.policy, tunnel_idle_timeout=0.05)
        second = await house.connect()
        await house.formation(Far(), "other")
        house.routes.live[b"other"].policy = route.policy
        await second.send(ASK.replace(b"/bot/", b"/other/"))
        await second.head()
        assert await second.rest() == TO_CLIENT


async def test_a_client_that_takes_nothing_is_given_up() -> None:
    async with open_house(limits=Limits(write_stall_timeout=0.05, sweep_interval=0.01)) as house:
        _, far, _ = await tunnel(house)
        target = house.routes.live[b"bot"].target
        assert target is not None
        with pytest.raises(trio.BrokenResourceError):
            await far.send(b"x" * (64 << 20))
        await until(lambda: target.tunnels == 0)


async def test_the_listener_s_end_is_announced() -> None:
    async with open_house() as house:
        wire, far, held = await tunnel(house)
        cut: list[int] = []

        async def drain() -> None:
            cut.append(await house.listener.drain(0))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain)
            assert await wire.rest() == TO_CLIENT
            assert is_masked_close(await far.rest())
            wire.leave()
            held.hang_up()
        assert cut == [0]


async def serve_websocket(wire: Wire) -> None:
    """Echo, by a library that knows the protocol."""
    protocol = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    while True:
        protocol.receive_data(await wire.receive() or None)
        for event in protocol.events():
            if isinstance(event, Hello):
                await wire.send(protocol.send(AcceptConnection(subprotocol=event.subprotocols[0])))
            elif isinstance(event, TextMessage):
                await wire.send(
                    protocol.send(TextMessage(event.data, message_finished=event.message_finished))
                )
            elif isinstance(event, BytesMessage):
                await wire.send(
                    protocol.send(BytesMessage(event.data, message_finished=event.message_finished))
                )
            elif isinstance(event, Ping):
                await wire.send(protocol.send(Pong(event.payload)))
            elif isinstance(event, CloseConnection):
                await wire.send(protocol.send(event.response()))
                return


async def chat(house: House, number: int) -> None:
    wire = await house.connect()
    protocol = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    hello = Hello(host="a", target="/api/bot/ws", subprotocols=["chat"])
    await wire.send(protocol.send(hello))
    protocol.receive_data(await wire.head())
    (accepted,) = protocol.events()
    assert isinstance(accepted, AcceptConnection)
    assert accepted.subprotocol == "chat"
    sends = [TextMessage(f"hello {number}"), TextMessage(""), Ping(b"p"), BytesMessage(b"x" * 70000)]
    wanted: list[object] = []
    for event in sends:
        await wire.send(protocol.send(event))
        wanted.append(Pong(b"p") if isinstance(event, Ping) else event)
    got: list[object] = []
    text, data = "", b""
    while len(got) < len(wanted):
        protocol.receive_data(await wire.receive())
        for event in protocol.events():
            if isinstance(event, BytesMessage):
                data += event.data
                if event.message_finished:
                    got.append(BytesMessage(data))
            elif isinstance(event, TextMessage):
                text += event.data
                if event.message_finished:
                    got.append(TextMessage(text))
                    text = ""
            else:
                got.append(event)
    assert sorted(map(repr, got)) == sorted(map(repr, wanted))
    await wire.send(protocol.send(CloseConnection(1000)))
    protocol.receive_data(await wire.rest())
    assert any(isinstance(event, CloseConnection) and event.code == 1000 for event in protocol.events())
    wire.leave()


async def test_many_websockets_at_once() -> None:
    async with open_house() as house:
        target = await house.formation(serve_websocket)
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(partial(chat, house, number))
        await until(lambda: target.in_flight == 0)
        await until(lambda: house.listener.open_connections == 0)
        assert house.listener.tally.contained == 0
