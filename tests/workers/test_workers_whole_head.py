"""A request that is handed to another process is read there as it was read here."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxi.proxy.headers import whole_head
from muxi.proxy.heads import HeadError, RequestHead
from muxi.proxy.http1 import parse_request_head

#: Where it was in the bytes, and when.
OWN = {"size", "begun", "fields"}

FIELDS = (
    b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: Upgrade, HTTP2-Settings",
    b"Connection: x-mine",
    b"Upgrade: websocket",
    b"Upgrade: a/1, b",
    b"Content-Length: 5",
    b"Transfer-Encoding: chunked",
    b"Expect: 100-continue",
    b"Forwarded: for=1.2.3.4",
    b"X-Forwarded-For: 1.2.3.4, 5.6.7.8",
    b"X-Forwarded-For: ::1",
    b"X-Forwarded-Host: a",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Port: 1",
    b"X-Request-ID: id-1",
    b"X-Muxi-SDK: python/1.2",
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b"tracestate: a=1",
    b"tracestate: b=2",
    b"X-Mine: 1",
    b"Cookie: a=b; c=\xe4",
    b"TE: trailers",
    b"Authorization: MUXI-HMAC key=1",
)
heads = st.builds(
    lambda method, target, version, host, fields: b"\r\n".join(
        (method + b" " + target + b" HTTP/1." + version, *host, *fields, b"", b"")
    ),
    st.sampled_from((b"GET", b"POST", b"OPTIONS", b"HEAD")),
    st.sampled_from((b"/rpc/x%2Fy?a=b", b"//", b"*", b"http://other.example/x?y", b"/\xe4")),
    st.sampled_from((b"0", b"1")),
    st.sampled_from(((), (b"Host: pub.example:7890",), (b"Host:",))),
    st.lists(st.sampled_from(FIELDS), max_size=8),
)


def facts(head: RequestHead) -> dict[str, object]:
    found = {name: getattr(head, name) for name in RequestHead.__slots__ if name not in OWN}
    return {**found, "fields": Counter(head.fields), "trace_state": head.trace_state or []}


@given(heads)
def test_it_is_read_as_the_same(data: bytes) -> None:
    try:
        head = parse_request_head(data)
    except HeadError:
        return
    assert head is not None
    again = parse_request_head(whole_head(head) + b"rest")
    assert again is not None
    assert facts(again) == facts(head)
    assert again.size == len(whole_head(head))


@pytest.mark.parametrize("connection", [b"", b"Connection: close\r\n", b"Connection: keep-alive\r\n"])
@pytest.mark.parametrize("version", [b"0", b"1"])
def test_whether_the_connection_goes_on_is_kept(connection: bytes, version: bytes) -> None:
    head = parse_request_head(b"GET /health HTTP/1." + version + b"\r\nHost: a\r\n" + connection + b"\r\n")
    assert head is not None
    again = parse_request_head(whole_head(head))
    assert again is not None
    assert (again.keep_alive, again.http11) == (head.keep_alive, head.http11)
