"""Who asked: believed of trusted proxies only, and of them from the right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.proxy.http1 import parse_request_head
from muxi.proxy.trust import Trust, client_address, peer_address, plain_address
from tests.proxy.house import GET, OK, Wire, open_house

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muxi.proxy.context import Served
    from muxi.proxy.heads import RequestHead

TRUST = Trust(["127.0.0.0/8", "10.0.0.0/8", "fd00::/8"])


def head_of(*lines: bytes) -> RequestHead:
    head = parse_request_head(b"\r\n".join((b"GET / HTTP/1.1", b"Host: a", *lines, b"", b"")))
    assert head is not None
    return head


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("127.0.0.1", True),
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("fd12::1", True),
        ("fe80::1", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_networks(address: str, trusted: bool) -> None:
    assert TRUST(address) is trusted


def test_nobody_is_trusted_by_default() -> None:
    assert not Trust(())("127.0.0.1")


@pytest.mark.parametrize(
    ("node", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        (" 1.2.3.4:8080 ", "1.2.3.4"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]:_x", "2001:db8::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("[::ffff:102:304]:1", "1.2.3.4"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", None),
        ("_hidden", None),
        ("1.2.3.4.5", None),
        ("example.com", None),
        ("", None),
    ],
)
def test_plain_addresses(node: str, address: str | None) -> None:
    assert plain_address(node) == address


@pytest.mark.parametrize(
    ("raw", "plain"),
    [("1.2.3.4", "1.2.3.4"), ("::ffff:1.2.3.4", "1.2.3.4"), ("::1", "::1"), ("fe80::1%lo", "fe80::1")],
)
def test_peers(raw: str, plain: str) -> None:
    assert peer_address(raw) == plain


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        ([], "10.0.0.1"),
        ([b"X-Forwarded-For: 1.1.1.1"], "1.1.1.1"),
        # What stands left of the first stranger anybody may have written.
        ([b"X-Forwarded-For: 6.6.6.6, 1.1.1.1"], "1.1.1.1"),
        ([b"X-Forwarded-For: 6.6.6.6, 1.1.1.1, 10.0.0.2, 10.0.0.3"], "1.1.1.1"),
        ([b"X-Forwarded-For: 1.1.1.1", b"X-Forwarded-For: 10.0.0.2"], "1.1.1.1"),
        ([b"X-Forwarded-For: 10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ([b"X-Forwarded-For: 2001:db8::1, 10.0.0.2"], "2001:db8::1"),
        ([b"X-Forwarded-For: unknown, 10.0.0.2"], "10.0.0.2"),
        ([b"X-Forwarded-For: ,, 1.1.1.1,"], "1.1.1.1"),
        ([b"Forwarded: for=1.1.1.1"], "1.1.1.1"),
        ([b'Forwarded: for="[2001:db8::1]:80";proto=https, for=10.0.0.2'], "2001:db8::1"),
        ([b"Forwarded: proto=https;For=1.1.1.1;by=10.0.0.9", b"Forwarded: for=10.0.0.2"], "1.1.1.1"),
        ([b'Forwarded: for=6.6.6.6;x="a, for=10.0.0.4", for=1.1.1.1'], "1.1.1.1"),
        ([b"Forwarded: for=1.1.1.1, proto=https"], "10.0.0.1"),
        ([b"X-Forwarded-For: 1.1.1.1", b"Forwarded: for=2.2.2.2"], "1.1.1.1"),
    ],
)
def test_the_address_behind_trusted_proxies(lines: list[bytes], address: str) -> None:
    assert client_address(head_of(*lines), "10.0.0.1", TRUST) == address


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60))
def test_a_forger_never_chooses_the_address(forged: str) -> None:
    lines = b"X-Forwarded-For: " + forged.encode() + b", 1.1.1.1"
    assert client_address(head_of(lines), "10.0.0.1", TRUST) == "1.1.1.1"


@given(st.binary(max_size=80).map(lambda data: data.translate(None, b"\r\n\x00")))
def test_any_forwarded_field_is_read_without_a_fault(value: bytes) -> None:
    head = head_of()
    head.forwarded = value
    assert client_address(head, "10.0.0.1", TRUST)


class Fields:
    """A formation that keeps the fields of the last request."""

    def __init__(self) -> None:
        self.last: dict[bytes, list[bytes]] = {}

    async def __call__(self, wire: Wire) -> None:
        while True:
            head = await wire.head()
            self.last = {}
            for line in head.split(b"\r\n")[1:-2]:
                name, _, value = line.partition(b": ")
                self.last.setdefault(name.lower(), []).append(value)
            await wire.send(OK)


FORWARDED = (
    b"X-Forwarded-For: 6.6.6.6, 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n"
    b"X-Forwarded-Port: 443\r\nForwarded: for=1.1.1.1;proto=https\r\nX-Real-IP: 6.6.6.6\r\n"
)
ASKING = GET.replace(b"\r\n\r\n", b"\r\n" + FORWARDED + b"\r\n")


async def test_a_trusted_peers_chain_is_extended() -> None:
    async with open_house(trusts=TRUST) as house:
        seen = Fields()
        await house.formation(seen)
        await (await house.connect()).ask(ASKING)
        assert seen.last[b"x-forwarded-for"] == [b"6.6.6.6, 1.1.1.1, 127.0.0.1"]
        assert seen.last[b"x-real-ip"] == [b"1.1.1.1"]
        assert seen.last[b"x-forwarded-proto"] == [b"https"]
        assert seen.last[b"x-forwarded-host"] == [b"shop.example"]
        assert seen.last[b"x-forwarded-port"] == [b"443"]
        assert seen.last[b"forwarded"] == [
            b'for=1.1.1.1;proto=https, for=127.0.0.1;host="shop.example";proto=http'
        ]


async def test_anyone_elses_is_replaced() -> None:
    async with open_house() as house:
        seen = Fields()
        await house.formation(seen)
        await (await house.connect()).ask(ASKING)
        assert seen.last[b"x-forwarded-for"] == seen.last[b"x-real-ip"] == [b"127.0.0.1"]
        assert seen.last[b"x-forwarded-proto"] == [b"http"]
        assert seen.last[b"x-forwarded-host"] == [b"pub.example:7890"]
        assert b"forwarded" not in seen.last
        assert b"x-forwarded-port" not in seen.last


async def test_a_trusted_peer_without_a_chain_is_the_client() -> None:
    async with open_house(trusts=TRUST) as house:
        seen = Fields()
        await house.formation(seen)
        await (await house.connect()).ask(GET)
        assert seen.last[b"x-forwarded-for"] == seen.last[b"x-real-ip"] == [b"127.0.0.1"]
        assert seen.last[b"x-forwarded-host"] == [b"pub.example:7890"]
        assert b"forwarded" not in seen.last


@pytest.mark.parametrize(("trusts", "peer"), [(TRUST, "1.1.1.1"), (Trust(()), "127.0.0.1")])
async def test_logs_and_the_management_api_are_told_the_same_client(trusts: Trust, peer: str) -> None:
    served: list[Served] = []
    asked: list[str] = []

    async def app(
        scope: Any, _receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        asked.append(scope["client"][0])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with open_house(app, trusts=trusts, on_request=served.append) as house:
        await house.formation(Fields())
        wire = await house.connect()
        await wire.ask(ASKING)
        await wire.ask(ASKING.replace(b"/api/bot/x", b"/rpc/formations"))
    assert [one.peer for one in served] == asked == [peer]
