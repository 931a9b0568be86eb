"""Chunked bodies: what is the body, where it ends, in any pieces."""

from __future__ import annotations

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.proxy.bodies import BodyError, ChunkedBody, CountedBody, UntilCloseBody
from muxi.proxy.chunked import MAX_SIZE_LINE, MAX_TRAILERS, ChunkError, ChunkScanner

WHOLE = b'5;a="b"\r\nhello\r\n00a \r\n0123456789\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n'


def scan(*pieces: bytes) -> tuple[bytes, bytes, bool]:
    """The body's bytes, what came after it, and whether it ended."""
    scanner = ChunkScanner()
    taken = after = b""
    for piece in pieces:
        size = scanner.feed(piece)
        taken, after = taken + piece[:size], after + piece[size:]
    return taken, after, scanner.done


def test_a_body_ends_where_it_ends() -> None:
    assert scan(WHOLE + b"GET /") == (WHOLE, b"GET /", True)
    assert scan(WHOLE[:-1]) == (WHOLE[:-1], b"", False)
    assert scan(b"0\r\n\r\n") == (b"0\r\n\r\n", b"", True)


@given(st.lists(st.integers(0, len(WHOLE)), max_size=8))
def test_any_split_gives_the_same(cuts: list[int]) -> None:
    data = WHOLE + b"next"
    edges = [0, *sorted(cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges)]
    assert scan(*pieces) == (WHOLE, b"next", True)


@given(st.lists(st.integers(0, len(WHOLE)), max_size=8))
def test_any_split_gives_the_same_payload(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(WHOLE)]
    body = ChunkedBody(unwrap=True)
    payload = b"".join(body.take(WHOLE[a:b]) for a, b in pairwise(edges))
    assert (payload, body.done) == (b"hello0123456789", True)


BAD = [
    b"\r\n",
    b"g\r\n",
    b"-1\r\n",
    b"+1\r\n",
    b"0x5\r\nhello\r\n",
    b"5\nhello\r\n",
    b"5\rhello\r\n",
    b" 5\r\nhello\r\n",
    b"5\r\nhello\n",
    b"5\r\nhelloX\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"5;\x00\r\nhello\r\n",
    b"5 x\r\nhello\r\n",
    b"1" * 16 + b"\r\n",
    b"5;" + b"a" * MAX_SIZE_LINE,
    b"0\r\nbad\r\n\r\n",
    b"0\r\n folded: 1\r\n\r\n",
    b"0\r\nX : 1\r\n\r\n",
    b"0\r\nX: \x00\r\n\r\n",
    b"0\r\nX: a\n\r\n",
    b"0\r\nContent-Length: 5\r\n\r\n",
    b"0\r\ntransfer-encoding: chunked\r\n\r\n",
    b"0\r\n" + b"X: 1\r\n" * MAX_TRAILERS,
]


@pytest.mark.parametrize("data", BAD)
def test_malformed_bodies_are_refused_in_any_pieces(data: bytes) -> None:
    with pytest.raises(ChunkError):
        scan(data)
    with pytest.raises(ChunkError):
        scan(*(data[i : i + 1] for i in range(len(data))))


def h11_body(data: bytes) -> tuple[bytes, bytes] | None:
    """The payload and what came after it, as h11 sees them; None if it has not ended, or is bad."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    payload = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Data):
                payload += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return payload, connection.trailing_data[0]
            elif event is h11.NEED_DATA:
                return None
    except h11.RemoteProtocolError:
        return None


@given(
    st.lists(
        st.sampled_from(
            [
                b"0",
                b"1",
                b"2",
                b"a",
                b";x=1",
                b" ",
                b"\r\n",
                b"\r",
                b"\n",
                b"X: y\r\n",
                b"0\r\n\r\n",
                b"1\r\nz\r\n",
            ]
        ),
        max_size=14,
    )
)
def test_what_is_taken_h11_takes_too(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    body = ChunkedBody(unwrap=True)
    try:
        payload = body.take(data)
    except BodyError:
        return
    if body.done:
        assert h11_body(data) == (payload, body.surplus)


def test_counted_body() -> None:
    body = CountedBody(5)
    assert body.take(b"hel") == b"hel"
    assert not body.done
    with pytest.raises(BodyError):
        body.finish()
    assert body.take(b"lo, next") == b"lo"
    assert (body.done, body.surplus) == (True, b", next")


def test_until_close_body_is_wrapped_for_those_who_know_chunks() -> None:
    body = UntilCloseBody(wrap=True)
    sent = body.take(b"hello") + body.take(b"") + body.finish()
    assert h11_body(sent) == (b"hello", b"")
    plain = UntilCloseBody(wrap=False)
    assert plain.take(b"hello") + plain.finish() == b"hello"


def test_chunked_body_that_stops_short_has_no_good_end() -> None:
    body = ChunkedBody()
    body.take(b"5\r\nhel")
    with pytest.raises(BodyError):
        body.finish()
