"""TLS: HTTP/1.1 by the same connection, HTTP/2 by ALPN, certificates that change, and ways of leaving."""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import h2.connection
import h2.errors
import h2.events
import pytest
import trio
import trustme

from muxi.errors import OperatorError
from muxi.proxy.certificates import Certificates
from muxi.proxy.limits import Limits
from muxi.registry.rate import TokenBucket
from tests.proxy.h2_client import H2Client
from tests.proxy.house import GET, OK, PATIENCE, House, Wire, answer_ok, canned, open_house
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\n\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def write_pair(directory: Path, authority: trustme.CA, name: str = "localhost") -> tuple[Path, Path]:
    pair = authority.issue_cert(name)
    cert, key = directory / "cert.pem", directory / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in pair.cert_chain_pems))
    key.write_bytes(pair.private_key_pem.bytes())
    return cert, key


@pytest.fixture
def certificates(tmp_path: Path, authority: trustme.CA) -> Certificates:
    return Certificates(*write_pair(tmp_path, authority))


class Door:
    """A house whose port speaks TLS."""

    def __init__(self, house: House, authority: trustme.CA) -> None:
        self.house = house
        self._authority = authority

    def context(self, *alpn: str) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context

    async def stream(self, *alpn: str, context: ssl.SSLContext | None = None) -> trio.SSLStream[Any]:
        raw = (await self.house.connect()).stream
        context = context or self.context(*alpn)
        stream = trio.SSLStream(raw, context, server_hostname="localhost", https_compatible=True)
        with trio.fail_after(PATIENCE):
            await stream.do_handshake()
        return stream

    async def connect(self, *alpn: str) -> Wire:
        return Wire(await self.stream(*alpn))  # type: ignore[arg-type]

    async def h2(self) -> H2Client:
        stream = await self.stream("h2", "http/1.1")
        assert stream.selected_alpn_protocol() == "h2"
        client = H2Client(stream, scheme=b"https")
        await client.start()
        return client


@asynccontextmanager
async def open_door(
    certificates: Certificates, authority: trustme.CA, app: Any = answer_ok, **options: Any
) -> AsyncIterator[Door]:
    async with open_house(app, certificates=certificates, **options) as house:
        yield Door(house, authority)


async def test_http1_over_tls(certificates: Certificates, authority: trustme.CA) -> None:
    seen: list[bytes] = []

    async def script(wire: Wire) -> None:
        while True:
            seen.append(await wire.head())
            await wire.send(OK)

    async with open_door(certificates, authority) as door:
        await door.house.formation(script)
        for alpn in ((), ("http/1.1",), ("other",)):
            wire = await door.connect(*alpn)
            assert (await wire.ask(GET)).body == b"ok"
            assert (await wire.ask(PING)).body == b"pong"
            assert (await wire.ask(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")).body == b"/x:"
            await wire.send(GET + PING + GET)
            assert [(await wire.reply()).body for _ in range(3)] == [b"ok", b"pong", b"ok"]
        assert b"X-Forwarded-Proto: https" in seen[0].split(b"\r\n")


async def test_the_app_is_told_the_scheme(certificates: Certificates, authority: trustme.CA) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        content = f"{scope['scheme']} {scope['client'][0]}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": content})

    async with open_door(certificates, authority, app) as door:
        wire = await door.connect()
        assert (await wire.ask(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")).body == b"https 127.0.0.1"
        assert (await (await door.h2()).ask(b"/x")).body == b"https 127.0.0.1"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_large_bodies_both_ways(
    certificates: Certificates, authority: trustme.CA, version: ssl.TLSVersion
) -> None:
    size = 3 << 20

    async def script(wire: Wire) -> None:
        await wire.head()
        body = await wire.exactly(size)
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body)

    async with open_door(certificates, authority) as door:
        await door.house.formation(script)
        context = door.context()
        context.maximum_version = version
        wire = Wire(await door.stream(context=context))  # type: ignore[arg-type]
        body = os.urandom(size)
        await wire.send(b"POST /api/bot/x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + body)
        assert (await wire.reply()).body == body


async def test_http2_by_alpn(certificates: Certificates, authority: trustme.CA) -> None:
    async with open_door(certificates, authority) as door:
        await door.house.formation(canned(OK))
        client = await door.h2()
        assert (await client.ask(b"/api/bot/x")).body == b"ok"
        number = await client.begin(b"/post", method=b"POST", end=False)
        await client.send(number, b"x" * 500_000, end=True)
        assert (await client.reply(number)).body == b"/post:" + b"x" * 500_000


async def test_head_in_single_bytes(certificates: Certificates, authority: trustme.CA) -> None:
    async with open_door(certificates, authority) as door:
        await door.house.formation(canned(OK))
        wire = await door.connect()
        for at in range(len(GET)):
            await wire.send(GET[at : at + 1])
        assert (await wire.reply()).body == b"ok"


@pytest.mark.parametrize("drips", [True, False], ids=["single-bytes", "with-the-hand-shake"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_records_come_as_they_like(
    certificates: Certificates, authority: trustme.CA, version: ssl.TLSVersion, drips: bool
) -> None:
    """Neither the hand-shake nor a record need come whole, nor apart from what follows it."""
    async with open_door(certificates, authority) as door:
        await door.house.formation(canned(OK))
        raw = await door.house.connect()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = door.context()
        context.maximum_version = version
        session = context.wrap_bio(incoming, outgoing, server_hostname="localhost")

        async def drip() -> None:
            data = outgoing.read()
            for at in range(len(data)) if drips else ():
                await raw.send(data[at : at + 1])
                await trio.lowlevel.checkpoint()
            if not drips:
                await raw.send(data)

        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                await drip()
                incoming.write(await raw.receive())
        session.write(GET)
        await drip()
        answer = b""
        while not answer.endswith(b"ok"):
            incoming.write(await raw.receive())
            while True:
                try:
                    answer += session.read(65536)
                except ssl.SSLWantReadError:
                    break
        assert answer.startswith(b"HTTP/1.1 200 OK")


async def test_plain_http_is_told_to_use_https(certificates: Certificates, authority: trustme.CA) -> None:
    async with open_door(certificates, authority) as door:
        wire = await door.house.connect()
        reply = await wire.ask(GET)
        assert reply.status == 400
        assert b"https" in reply.body
        assert await wire.gone()


@pytest.mark.parametrize("data", [b"\x00\x01", b"\x16\x03\x01\x00\x05hello", b"\x80\x2e\x01", b""])
async def test_what_is_no_hand_shake_is_closed(
    certificates: Certificates, authority: trustme.CA, data: bytes
) -> None:
    async with open_door(certificates, authority) as door:
        wire = await door.house.connect()
        await wire.send(data)
        with suppress(OSError):
            wire.stream.socket.shutdown(socket.SHUT_WR)
        with suppress(trio.BrokenResourceError):
            assert b"HTTP" not in await wire.rest()
        await until(lambda: door.house.listener.open_connections == 0)
        assert door.house.listener.tally.contained == 0


async def test_a_hello_on_the_plain_port_is_closed_quietly(authority: trustme.CA) -> None:
    async with open_house() as house:
        door = Door(house, authority)
        with pytest.raises(trio.BrokenResourceError):
            await door.stream()
        raw = house.clients[0]
        assert raw.pending == b""
        await until(lambda: house.listener.open_connections == 0)
        wire = await house.connect()
        await wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(32))
        assert await wire.gone()


async def test_a_slow_hand_shake_is_ended(certificates: Certificates, authority: trustme.CA) -> None:
    limits = Limits(handshake_timeout=0.05, sweep_interval=0.01)
    async with open_door(certificates, authority, limits=limits) as door:
        for start in (b"", b"\x16\x03\x01"):
            wire = await door.house.connect()
            await wire.send(start)
            assert await wire.gone()
        assert door.house.listener.tally.expired == 2


async def quiet(wire: Wire) -> None:
    await wire.head()
    await wire.send(STREAM)
    assert await wire.gone()


async def fin(stream: trio.SSLStream[Any]) -> None:
    stream.transport_stream.socket.close()


async def reset(stream: trio.SSLStream[Any]) -> None:
    Wire(stream.transport_stream).reset()


async def close_notify(stream: trio.SSLStream[Any]) -> None:
    """Say that this is the end, and keep the socket open."""
    with trio.fail_after(PATIENCE):
        await stream.unwrap()


@pytest.mark.parametrize("leave", [fin, reset, close_notify])
async def test_a_client_that_leaves_is_told_to_the_formation_at_once(
    certificates: Certificates, authority: trustme.CA, leave: Callable[[trio.SSLStream[Any]], Any]
) -> None:
    async with open_door(certificates, authority) as door:
        target = await door.house.formation(quiet)
        stream = await door.stream()
        wire = Wire(stream)  # type: ignore[arg-type]
        await wire.send(GET)
        await wire.until(b"hello\n\n")
        await leave(stream)
        await until(lambda: target.in_flight == 0 and door.house.listener.open_connections == 0)


async def test_pipelined_requests_survive_the_look_for_a_leaving_client(
    certificates: Certificates, authority: trustme.CA
) -> None:
    going = trio.Event()

    async def slow(wire: Wire) -> None:
        while True:
            await wire.head()
            await going.wait()
            await wire.send(OK)

    async with open_door(certificates, authority) as door:
        target = await door.house.formation(slow)
        wire = await door.connect()
        await wire.send(GET)
        await until(lambda: target.in_flight == 1)
        for _ in range(40):
            await wire.send(PING)
        await trio.testing.wait_all_tasks_blocked(0.05)
        going.set()
        assert (await wire.reply()).body == b"ok"
        assert [(await wire.reply()).body for _ in range(40)] == [b"pong"] * 40


async def test_a_proper_end_has_a_close_notify_and_a_cut_has_none(
    certificates: Certificates, authority: trustme.CA
) -> None:
    async def liar(wire: Wire) -> None:
        head = await wire.head()
        if b"/cut" in head:
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort")
        else:
            await wire.send(b"HTTP/1.1 200 OK\r\n\r\nwhole")

    async with open_door(certificates, authority) as door:
        await door.house.formation(liar)
        for path, cut in ((b"/cut", True), (b"/whole", False)):
            raw = await door.house.connect()
            stream = trio.SSLStream(raw.stream, door.context(), server_hostname="localhost")
            wire = Wire(stream)  # type: ignore[arg-type]
            await wire.send(b"GET /api/bot%b HTTP/1.0\r\nHost: a\r\n\r\n" % path)
            if cut:
                with pytest.raises(trio.BrokenResourceError):
                    await wire.rest()
            else:
                assert (await wire.rest()).endswith(b"whole")


async def test_an_early_answer_can_be_read(certificates: Certificates, authority: trustme.CA) -> None:
    async with open_door(certificates, authority) as door:
        wire = await door.connect()
        size = 4 << 20
        head = b"POST /api/nobody HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
        await wire.send(head + b"x" * size)
        assert (await wire.reply()).status == 404


async def test_a_client_that_does_not_read_is_cut_off(
    certificates: Certificates, authority: trustme.CA
) -> None:
    async def flood(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await wire.send(b"x" * (1 << 20))

    limits = Limits(write_stall_timeout=0.05, sweep_interval=0.01)
    async with open_door(certificates, authority, limits=limits) as door:
        target = await door.house.formation(flood)
        wire = await door.connect()
        await wire.send(GET)
        await until(lambda: door.house.listener.tally.expired >= 1)
        await until(lambda: target.in_flight == 0 and door.house.listener.open_connections == 0)


async def test_upgrades_are_tunnelled(certificates: Certificates, authority: trustme.CA) -> None:
    async def parrot(wire: Wire) -> None:
        assert b"Upgrade" in await wire.head()
        await wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello")
        while data := await wire.receive():
            await wire.send(data)

    async with open_door(certificates, authority) as door:
        await door.house.formation(parrot)
        wire = await door.connect()
        await wire.send(b"GET /api/bot/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        assert (await wire.head()).startswith(b"HTTP/1.1 101")
        assert await wire.exactly(5) == b"hello"
        for size in (1, 16384, 1_000_000):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wire.send, b"x" * size)
                assert await wire.exactly(size) == b"x" * size
        await wire.stream.aclose()
        await until(lambda: door.house.listener.open_connections == 0)


async def test_old_versions_are_refused(
    tmp_path: Path, authority: trustme.CA, certificates: Certificates
) -> None:
    modern = Certificates(tmp_path / "cert.pem", tmp_path / "key.pem", "1.3")
    async with open_door(modern, authority) as door:
        context = door.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(trio.BrokenResourceError):
            await door.stream(context=context)
    assert certificates.context.minimum_version == ssl.TLSVersion.TLSv1_2


async def test_a_new_pair_is_used_for_new_connections(
    tmp_path: Path, authority: trustme.CA, certificates: Certificates
) -> None:
    async def subject(door: Door) -> object:
        context = door.context()
        context.check_hostname = False
        stream = await door.stream(context=context)
        return dict(stream.getpeercert())["subjectAltName"]

    async with open_door(certificates, authority) as door, trio.open_nursery() as nursery:
        nursery.start_soon(certificates.watch, 0.01)
        await door.house.formation(canned(OK))
        old = await door.connect()
        before = certificates.context
        write_pair(tmp_path, authority, "renewed.example")
        await until(lambda: certificates.context is not before)
        assert await subject(door) == (("DNS", "renewed.example"),)
        assert (await old.ask(GET)).body == b"ok"
        nursery.cancel_scope.cancel()


async def test_a_bad_new_pair_keeps_the_old(
    tmp_path: Path, authority: trustme.CA, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("muxi.proxy.certificates.log.error", lambda *_, reason, cure: said.append(reason))
    async with open_door(certificates, authority) as door, trio.open_nursery() as nursery:
        before = certificates.context
        nursery.start_soon(certificates.watch, 0.01)
        for content in (b"nonsense", authority.issue_cert("x").private_key_pem.bytes()):
            count = len(said)
            (tmp_path / "key.pem").write_bytes(content)
            await until(lambda: len(said) > count)  # noqa: B023 - awaited here
        (tmp_path / "key.pem").unlink()
        await until(lambda: len(said) > 2)
        assert certificates.context is before
        assert (await (await door.connect()).ask(PING)).body == b"pong"
        nursery.cancel_scope.cancel()
    assert "no private key" in said[0]
    assert "is not that of the certificate" in said[1]
    assert "can't be read" in said[2]


def test_pairs_that_can_not_be_used_say_why(tmp_path: Path, authority: trustme.CA) -> None:
    cert, key = write_pair(tmp_path, authority)
    other = tmp_path / "other.pem"
    other.write_bytes(authority.issue_cert("other").private_key_pem.bytes())
    locked = tmp_path / "locked.pem"
    locked.write_bytes(key.read_bytes().replace(b"-----\n", b"-----\nProc-Type: 4,ENCRYPTED\n", 1))
    broken = tmp_path / "broken.pem"
    broken.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for pair, words in (
        ((tmp_path / "none.pem", key), "none.pem can't be read: No such file"),
        ((cert, tmp_path), "can't be read: Is a directory"),
        ((key, key), "holds no certificate"),
        ((cert, None), "holds no private key"),
        ((cert, other), "is not that of the certificate"),
        ((cert, locked), "protected by a password"),
        ((broken, key), "can't be used"),
    ):
        with pytest.raises(OperatorError) as caught:
            Certificates(*pair)
        assert words in caught.value.message
        assert caught.value.cure
        assert caught.value.code == "TlsUnusable"
        assert "PRIVATE KEY-----" not in str(caught.value)


def test_one_file_may_hold_both(tmp_path: Path, authority: trustme.CA) -> None:
    both = tmp_path / "both.pem"
    pair = authority.issue_cert("localhost")
    both.write_bytes(pair.private_key_and_cert_chain_pem.bytes())
    assert Certificates(both).context.minimum_version == ssl.TLSVersion.TLSv1_2


FULL = Limits(max_connections=1)


async def test_who_is_one_too_many_is_told_so_within_the_encryption(
    certificates: Certificates, authority: trustme.CA
) -> None:
    async with open_door(certificates, authority, limits=FULL) as door:
        wire = await door.connect()
        assert (await wire.ask(PING)).status == 200
        refused = await door.connect("http/1.1")
        await refused.send(PING)
        reply = await refused.reply()
        assert (reply.status, reply.header(b"retry-after")) == (503, b"1")
        assert await refused.rest() == b""
        assert door.house.listener.tally.refused_connections == 1
        await wire.stream.aclose()
        await until(lambda: door.house.listener.open_connections == 0)
        assert (await (await door.connect()).ask(PING)).status == 200


async def test_by_http2_who_is_one_too_many_gets_a_goaway(
    certificates: Certificates, authority: trustme.CA
) -> None:
    async with open_door(certificates, authority, limits=FULL) as door:
        assert (await (await door.connect()).ask(PING)).status == 200
        stream = await door.stream("h2")
        parser = h2.connection.H2Connection()
        parser.initiate_connection()
        with trio.fail_after(PATIENCE):
            await stream.send_all(parser.data_to_send())
            events = []
            while data := await stream.receive_some(65536):
                events += parser.receive_data(data)
        (ended,) = [event for event in events if isinstance(event, h2.events.ConnectionTerminated)]
        assert (ended.error_code, ended.last_stream_id) == (h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, 0)


async def test_nothing_is_said_in_plain_text_to_who_does_not_encrypt(
    certificates: Certificates, authority: trustme.CA
) -> None:
    async with open_door(certificates, authority, limits=FULL) as door:
        assert (await (await door.connect()).ask(PING)).status == 200
        plain = await door.house.connect()
        await plain.send(PING)
        with suppress(trio.BrokenResourceError):
            assert b"HTTP/" not in await plain.rest()


async def test_refusals_can_t_make_us_shake_hands_without_end(
    certificates: Certificates, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muxi.proxy.farewell.HANDSHAKES", 2)
    # So that no more are allowed while the test runs.
    monkeypatch.setattr("muxi.proxy.farewell.TokenBucket", lambda _, burst: TokenBucket(1e-9, burst))
    async with open_door(certificates, authority, limits=FULL) as door:
        assert (await (await door.connect()).ask(PING)).status == 200
        for _ in range(2):
            assert (await (await door.connect()).reply()).status == 503
        raw = (await door.house.connect()).stream
        stream = trio.SSLStream(raw, door.context(), server_hostname="localhost")
        with trio.fail_after(PATIENCE), pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
        assert door.house.listener.tally.refused_connections == 3


async def test_a_refused_client_that_never_shakes_hands_is_closed(
    certificates: Certificates, authority: trustme.CA
) -> None:
    async with open_door(certificates, authority, limits=FULL) as door:
        assert (await (await door.connect()).ask(PING)).status == 200
        assert await (await door.house.connect()).gone()


async def test_nothing_is_said_in_plain_text_to_whom_a_balancer_brings_once_too_often(
    certificates: Certificates, authority: trustme.CA
) -> None:
    limits = Limits(max_connections_per_address=1)
    options = {"limits": limits, "trusts": lambda address: address == "127.0.0.1", "proxy_protocol": True}
    async with open_door(certificates, authority, **options) as door:
        first = await door.house.connect()
        await first.send(b"PROXY TCP4 203.0.113.1 192.0.2.1 1 2\r\n")
        await until(lambda: door.house.listener.open_connections == 1)
        tls = trio.SSLStream(first.stream, door.context(), server_hostname="localhost")
        with trio.fail_after(PATIENCE):
            await tls.do_handshake()
        again = await door.house.connect()
        await again.send(b"PROXY TCP4 203.0.113.1 192.0.2.1 1 2\r\n")
        with suppress(trio.BrokenResourceError):
            assert await again.rest() == b""
        assert door.house.listener.tally.refused_connections == 1
