"""The PROXY protocol: the forms of its specification, nothing but them, and from whom it is taken."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.proxy.proxy_protocol import SIGNATURE, Preamble, PreambleError, parse_preamble
from muxi.proxy.trust import Trust
from tests.proxy.house import GET, Wire, open_house
from tests.proxy.test_proxy_trust import Fields

TRUST = Trust(["127.0.0.0/8"])
TCP4 = b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n"
TCP6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n"
WIDEST = b":".join([b"ffff"] * 8)
LONGEST = b"PROXY UNKNOWN %b %b 65535 65535\r\n" % (WIDEST, WIDEST)


def v2(command: int, family: int, block: bytes, more: bytes = b"") -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(block + more)) + block + more


IP4 = bytes([203, 0, 113, 7, 192, 0, 2, 1]) + struct.pack("!HH", 56324, 443)
IP6 = bytes.fromhex("20010db8000000000000000000000007" + "20010db8000000000000000000000001") + IP4[8:]
MAPPED = bytes.fromhex("00000000000000000000ffffcb007107" * 2) + IP4[8:]
TLV = b"\x04\x00\x03abc"


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (TCP4, "203.0.113.7"),
        (TCP6, "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 0 65535\r\n", "203.0.113.7"),
        (b"PROXY UNKNOWN\r\n", None),
        (LONGEST, None),
        (v2(0x21, 0x11, IP4), "203.0.113.7"),
        (v2(0x21, 0x11, IP4, TLV), "203.0.113.7"),
        (v2(0x21, 0x21, IP6), "2001:db8::7"),
        (v2(0x21, 0x21, MAPPED), "203.0.113.7"),
        (v2(0x20, 0x00, b""), None),
        (v2(0x20, 0x11, IP4), None),
        (v2(0x20, 0x11, b""), None),
        (v2(0x21, 0x00, b"", TLV), None),
        (v2(0x21, 0x12, IP4), None),
        (v2(0x21, 0x31, b"\0" * 216), None),
    ],
)
def test_headers_of_the_specification(data: bytes, source: str | None) -> None:
    assert parse_preamble(data + GET) == Preamble(len(data), source)
    for size in range(1, len(data)):
        assert parse_preamble(data[:size]) is None


def test_the_longest_line_has_107_bytes() -> None:
    assert len(LONGEST) == 107
    with pytest.raises(PreambleError):
        parse_preamble(LONGEST[:-2].ljust(107, b"x"))


@pytest.mark.parametrize(
    "data",
    [
        GET,
        b"\x16\x03\x01",
        b"proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY\tTCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
        b"PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n",
        b"PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP6 fe80::1%lo ::1 1 2\r\n",
        b"PROXY TCP4 \xff.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY UNKNOWNX\r\n",
        SIGNATURE[:-1] + b"X" + IP4,
        v2(0x11, 0x11, IP4),
        v2(0x22, 0x11, IP4),
        v2(0x21, 0x13, IP4),
        v2(0x21, 0x41, IP4),
        v2(0x21, 0x11, IP4[:-1]),
        v2(0x21, 0x21, IP4),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(PreambleError):
        parse_preamble(data)


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21"])
)
def test_no_bytes_make_it_fail_otherwise(data: bytes, start: bytes) -> None:
    try:
        found = parse_preamble(start + data)
    except PreambleError:
        return
    assert found is None or found.size <= len(start + data)


@pytest.mark.parametrize("preamble", [TCP4, TCP6, v2(0x21, 0x11, IP4, TLV), v2(0x21, 0x21, IP6)])
async def test_the_client_is_the_one_that_the_balancer_names(preamble: bytes) -> None:
    async with open_house(trusts=TRUST, proxy_protocol=True) as house:
        seen = Fields()
        await house.formation(seen)
        wire = await house.connect()
        forged = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
        for _ in range(2):
            await wire.send(preamble + forged)
            assert (await wire.reply()).status == 200
            # Nobody trusts that client itself.
            assert seen.last[b"x-forwarded-for"][0] in {b"203.0.113.7", b"2001:db8::7"}
            assert seen.last[b"x-real-ip"] == seen.last[b"x-forwarded-for"]
            preamble = b""


async def test_a_header_in_pieces() -> None:
    async with open_house(trusts=TRUST, proxy_protocol=True) as house:
        await house.formation(Fields())
        wire = await house.connect()
        for byte in TCP4 + GET:
            await wire.send(bytes([byte]))
        assert (await wire.reply()).status == 200


async def test_the_balancers_own_check_has_its_address() -> None:
    async with open_house(trusts=TRUST, proxy_protocol=True) as house:
        seen = Fields()
        await house.formation(seen)
        assert await _status(await house.connect(), v2(0x20, 0, b"") + GET) == 200
        assert seen.last[b"x-real-ip"] == [b"127.0.0.1"]


@pytest.mark.parametrize("data", [GET, b"PROXY TCP4 x\r\n" + GET, SIGNATURE + b"\xff" * 4])
async def test_without_a_proper_header_a_balancers_connection_is_closed(data: bytes) -> None:
    async with open_house(trusts=TRUST, proxy_protocol=True) as house:
        await house.formation(Fields())
        wire = await house.connect()
        await wire.send(data)
        assert await wire.gone()
        assert house.listener.tally.contained == 0


async def _status(wire: Wire, data: bytes) -> int:
    await wire.send(data)
    return (await wire.reply()).status


async def test_from_anyone_else_it_is_no_request_and_not_needed() -> None:
    async with open_house(proxy_protocol=True) as house:
        await house.formation(Fields())
        assert await _status(await house.connect(), TCP4 + GET) == 400
        assert await _status(await house.connect(), GET) == 200


async def test_where_it_is_off_it_is_no_request() -> None:
    async with open_house(trusts=TRUST) as house:
        await house.formation(Fields())
        assert await _status(await house.connect(), TCP4 + GET) == 400


async def test_who_leaves_before_its_header_leaves_nothing() -> None:
    async with open_house(trusts=TRUST, proxy_protocol=True) as house:
        wire = await house.connect()
        await wire.send(TCP4[:9])
        await wire.stream.send_eof()
        assert await wire.gone()
