"""The strict parser of heads: a table of what is taken and what is refused."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.proxy.heads import CHUNKED, UNTIL_CLOSE, HeadError, RequestHead, ResponseHead
from muxi.proxy.http1 import MAX_FIELDS, MAX_HEAD, MAX_LINE, parse_request_head
from muxi.proxy.http1_response import parse_response_head


def request(*lines: bytes, start: bytes = b"GET / HTTP/1.1") -> RequestHead:
    head = parse_request_head(b"\r\n".join((start, b"Host: a", *lines, b"", b"")))
    assert head is not None
    return head


def response(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK", method: bytes = b"GET") -> ResponseHead:
    head = parse_response_head(b"\r\n".join((start, *lines, b"", b"")), method)
    assert head is not None
    return head


def refusal(data: bytes) -> int:
    with pytest.raises(HeadError) as caught:
        parse_request_head(data)
    return caught.value.status


def test_plain_request() -> None:
    data = b"POST /api/bot/a%2Fb//c?q= HTTP/1.1\r\nHost: a:1\r\nX-Odd:\t v \r\n"
    data += b"Content-Length: 007\r\n\r\nbody..."
    head = parse_request_head(data)
    assert head is not None
    assert (head.method, head.target, head.host) == (b"POST", b"/api/bot/a%2Fb//c?q=", b"a:1")
    assert head.fields == [b"X-Odd:\t v ", b"Content-Length: 7"]
    assert (head.length, head.keep_alive, head.http11) == (7, True, True)
    assert data[head.size :] == b"body..."


@pytest.mark.parametrize(
    "data",
    [
        b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\tfolded: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nAccept\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX(: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nN\xc3\xa4me: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / http/1.1\r\nHost: a\r\n\r\n",
        b"GET /\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /?q=\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_malformed_heads_are_refused(data: bytes) -> None:
    assert refusal(data) == 400


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"Content-Length: 1\r\nContent-Length: 1", 400),
        (b"Content-Length: 1\r\nContent-Length: 2", 400),
        (b"Content-Length: 1, 1", 400),
        (b"Content-Length: +1", 400),
        (b"Content-Length: -1", 400),
        (b"Content-Length: 1_0", 400),
        (b"Content-Length: 0x1", 400),
        (b"Content-Length: 1 1", 400),
        (b"Content-Length:", 400),
        (b"Content-Length: 9223372036854775808", 400),
        (b"Content-Length: " + b"9" * 30, 400),
        (b"Content-Length: \xb2", 400),
        (b"Content-Length: 1\r\nTransfer-Encoding: chunked", 400),
        (b"Transfer-Encoding: chunked\r\ncontent-length: 1", 400),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        (b"Transfer-Encoding: chunked\r\ntransfer-encoding: identity", 400),
        (b"Transfer-Encoding: identity", 400),
        (b"Transfer-Encoding: gzip", 400),
        (b"Transfer-Encoding: chunked, gzip", 400),
        (b"Transfer-Encoding: gzip, chunked", 501),
        (b"Transfer-Encoding: xchunked", 400),
        (b"Transfer-Encoding: chunked;q=1", 400),
        (b"Transfer-Encoding: \x0bchunked", 400),
        (b"Transfer-Encoding:", 400),
    ],
)
def test_ambiguous_lengths_are_refused(lines: bytes, status: int) -> None:
    assert refusal(b"POST / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n\r\n") == status


def test_transfer_encoding_of_http10_is_refused() -> None:
    assert refusal(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n") == 400


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/3.0"])
def test_other_versions_are_refused(version: bytes) -> None:
    assert refusal(b"GET / " + version + b"\r\nHost: a\r\n\r\n") == 505


def test_limits() -> None:
    assert refusal(b"GET /" + b"a" * MAX_LINE + b" HTTP/1.1\r\nHost: a\r\n\r\n") == 414
    assert refusal(b"GET /" + b"a" * MAX_LINE) == 414
    assert refusal(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * MAX_HEAD) == 431
    assert refusal(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * MAX_HEAD + b"\r\n\r\n") == 431
    assert refusal(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * MAX_FIELDS + b"\r\n") == 431
    assert refusal(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n") == 501


def test_empty_lines_before_the_request_are_passed_over() -> None:
    for before in (b"\r\n", b"\r\n\r\n"):
        head = parse_request_head(before + b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest")
        assert head is not None
        assert head.size == len(before) + 27


def test_absolute_target_becomes_origin_form_and_names_the_host() -> None:
    head = request(start=b"GET http://b:80?x=1 HTTP/1.1")
    assert (head.target, head.host) == (b"/?x=1", b"b:80")
    head = request(start=b"GET HTTPS://b/a//b HTTP/1.1")
    assert (head.target, head.host) == (b"/a//b", b"b")
    assert request(start=b"OPTIONS * HTTP/1.1").target == b"*"


def test_hop_by_hop_fields_are_dropped() -> None:
    head = request(
        b"Connection: close, X-Private, Content-Length",
        b"connection: x-more",
        b"Keep-Alive: 5",
        b"Proxy-Connection: keep-alive",
        b"TE: trailers",
        b"x-private: 1",
        b"X-MORE: 2",
        b"Content-Length: 3",
        b"X-Muxi-Server: forged",
        b"X_Forwarded_For: forged",
        b"Forwarded: for=forged",
        b"Accept: */*",
    )
    assert head.fields == [b"Accept: */*", b"Content-Length: 3"]
    assert not head.keep_alive


@pytest.mark.parametrize(
    ("start", "lines", "keep"),
    [
        (b"GET / HTTP/1.1", b"Connection: Close", False),
        (b"GET / HTTP/1.1", b"X: y", True),
        (b"GET / HTTP/1.0", b"X: y", False),
        (b"GET / HTTP/1.0", b"Connection: Keep-Alive", True),
        (b"GET / HTTP/1.1", b"Connection: keep-alive, close", False),
    ],
)
def test_keep_alive(start: bytes, lines: bytes, keep: bool) -> None:
    assert request(lines, start=start).keep_alive is keep


def test_upgrade_counts_only_when_connection_names_it() -> None:
    assert request(b"Upgrade: WebSocket").upgrade is None
    assert request(b"Upgrade: WebSocket", b"Connection: keep-alive, Upgrade").upgrade == b"WebSocket"


def test_only_100_continue_is_expected() -> None:
    assert request(b"Expect: 100-Continue").fields == [b"Expect: 100-Continue"]
    assert request(b"Expect: miracles").fields == []


@pytest.mark.parametrize(
    ("lines", "method", "start", "length"),
    [
        ((b"Content-Length: 5",), b"GET", b"HTTP/1.1 200 OK", 5),
        ((b"Content-Length: 5",), b"HEAD", b"HTTP/1.1 200 OK", 0),
        ((b"Content-Length: 5", b"content-length: 5"), b"GET", b"HTTP/1.1 200 OK", 5),
        ((b"Transfer-Encoding: Chunked",), b"GET", b"HTTP/1.1 200", CHUNKED),
        ((), b"GET", b"HTTP/1.1 200 ", UNTIL_CLOSE),
        ((), b"HEAD", b"HTTP/1.1 200 OK", 0),
        ((), b"GET", b"HTTP/1.1 204 No Content", 0),
        ((b"Content-Length: 5",), b"GET", b"HTTP/1.1 304 Not Modified", 0),
        ((), b"GET", b"HTTP/1.1 100 Continue", 0),
        ((), b"GET", b"HTTP/1.0 200 OK", UNTIL_CLOSE),
    ],
)
def test_framing_of_responses(lines: tuple[bytes, ...], method: bytes, start: bytes, length: int) -> None:
    assert response(*lines, start=start, method=method).length == length


def test_fields_of_a_response() -> None:
    head = response(
        b"Set-Cookie: a=1",
        b"set-cookie: b=2",
        b"Connection: x-hop",
        b"X-Hop: 1",
        b"Keep-Alive: timeout=5",
        b"Content-Length: 05",
        b"X-Request-ID: r",
    )
    assert head.fields == [b"Set-Cookie: a=1", b"set-cookie: b=2", b"X-Request-ID: r", b"Content-Length: 5"]
    assert response(b"Content-Length: 5", start=b"HTTP/1.1 304 x").fields == [b"Content-Length: 5"]
    assert response(b"Content-Length: 0", start=b"HTTP/1.1 204 x").fields == []


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 5\n\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 999 OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_HEAD,
    ],
)
def test_bad_responses_are_refused(data: bytes) -> None:
    with pytest.raises(HeadError) as caught:
        parse_response_head(data, b"GET")
    assert caught.value.status == 502


GOOD = b"\r\nPOST /a HTTP/1.1\r\nHost: a\r\nX: y\r\nContent-Length: 3\r\n\r\n"


@given(cut=st.integers(0, len(GOOD) - 1))
def test_a_beginning_is_never_refused_nor_taken_for_the_whole(cut: int) -> None:
    assert parse_request_head(GOOD[:cut]) is None


def h11_says(data: bytes) -> h11.Request | None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    return event if isinstance(event, h11.Request) else None


PIECES = [
    b"GET ", b"POST ", b"/", b"/a?b", b" ", b"\t", b":", b",", b";", b"\r\n", b"\r", b"\n", b"\0", b"\x80",
    b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"Host: a\r\n", b"Host: b\r\n", b"Content-Length: 3\r\n",
    b"Content-Length: 4\r\n", b"Content-Length", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding",
    b"chunked", b"Connection: close\r\n", b"X: y\r\n", b"3", b"a",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12), st.booleans())
def test_what_is_taken_h11_takes_too(pieces: list[bytes], well_begun: bool) -> None:
    start = b"POST /a HTTP/1.1\r\nHost: a\r\n" if well_begun else b""
    data = start + b"".join(pieces) + b"\r\n\r\n"
    try:
        head = parse_request_head(data)
    except HeadError:
        return
    if head is None:
        return
    theirs = h11_says(data[: head.size].removeprefix(b"\r\n").removeprefix(b"\r\n"))
    assert theirs is not None
    fields = dict(theirs.headers)
    assert (theirs.method, theirs.target) == (head.method, head.target)
    if head.length == CHUNKED:
        assert fields[b"transfer-encoding"] == b"chunked"
        assert b"content-length" not in fields
    else:
        assert int(fields.get(b"content-length", b"0")) == head.length
        assert b"transfer-encoding" not in fields
