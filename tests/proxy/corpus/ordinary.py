"""Requests for `/api/bot/…` to be sent through two proxies: everyday ones, odd ones, and bad ones."""

from __future__ import annotations

from typing import Final


def _get(
    target: bytes = b"/api/bot/x", *fields: bytes, method: bytes = b"GET", version: bytes = b"1.1"
) -> bytes:
    return b"\r\n".join(
        (b"%b %b HTTP/%b" % (method, target, version), b"Host: pub.example", *fields, b"", b"")
    )


def _post(body: bytes, *fields: bytes) -> bytes:
    return _get(b"/api/bot/x", *fields, method=b"POST") + body


_TE: Final = b"Transfer-Encoding: chunked"
_CHUNKS: Final = b"5\r\nhello\r\n0\r\n\r\n"
_BROWSER: Final = (
    b"User-Agent: Mozilla/5.0",
    b"Accept: text/html,*/*;q=0.8",
    b"Accept-Encoding: gzip, deflate, br",
    b"Accept-Language: en-GB,en;q=0.5",
    b"Cookie: a=1; b=2",
    b"Referer: http://pub.example/",
    b"Sec-Fetch-Mode: navigate",
    b"Connection: keep-alive",
)

REQUESTS: Final = {
    "get": _get(),
    "browser": _get(b"/api/bot/x", *_BROWSER),
    "root": _get(b"/api/bot/"),
    "head": _get(method=b"HEAD"),
    "options": _get(method=b"OPTIONS"),
    "delete": _get(method=b"DELETE"),
    "trace": _get(method=b"TRACE"),
    "own method": _get(method=b"PURGE-ALL"),
    "method in lower case": _get(method=b"get"),
    "post": _post(b"hello", b"Content-Length: 5"),
    "post of nothing": _post(b"", b"Content-Length: 0"),
    "post without a length": _post(b""),
    "get with a body": _get(b"/api/bot/x", b"Content-Length: 5") + b"hello",
    "length with noughts": _post(b"hello", b"Content-Length: 005"),
    "chunked": _post(_CHUNKS, _TE),
    "chunked in capitals": _post(_CHUNKS, b"TRANSFER-ENCODING: CHUNKED"),
    "chunked with an extension": _post(b"5;a=b\r\nhello\r\n0\r\n\r\n", _TE),
    "chunked with a trailer": _post(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", b"Trailer: X-Sum", _TE),
    "expect": _post(b"hello", b"Expect: 100-continue", b"Content-Length: 5"),
    "encoded slash": _get(b"/api/bot/a%2Fb"),
    "encoded letter": _get(b"/api/bot/%61"),
    "two slashes": _get(b"/api/bot//a//b"),
    "dots": _get(b"/api/bot/a/../b/./c"),
    "encoded dots": _get(b"/api/bot/a/%2e%2e/b"),
    "empty query": _get(b"/api/bot/x?"),
    "query": _get(b"/api/bot/x?a=b&c=%20d+e?/"),
    "odd characters": _get(b'/api/bot/|"<>{}^`?|"<>'),
    "semicolon": _get(b"/api/bot/x;v=1"),
    "percent alone": _get(b"/api/bot/100%"),
    "percent of a query alone": _get(b"/api/bot/x?100%"),
    "encoded NUL": _get(b"/api/bot/%00"),
    "encoded line end": _get(b"/api/bot/a%0d%0ab"),
    "UTF-8": _get(b"/api/bot/\xc3\xa4"),
    "fragment": _get(b"/api/bot/x#y"),
    "absolute target": _get(b"http://other.example/api/bot/x"),
    "HTTP/1.0": _get(version=b"1.0"),
    "HTTP/1.0 without Host": b"GET /api/bot/x HTTP/1.0\r\n\r\n",
    "close": _get(b"/api/bot/x", b"Connection: close"),
    "fields that Connection names": _get(
        b"/api/bot/x", b"Connection: X-Own, close", b"X-Own: 1", b"X-Other: 2"
    ),
    "hop-by-hop fields": _get(
        b"/api/bot/x",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authorization: Basic eDp5",
        b"TE: trailers",
    ),
    "upgrade unnamed": _get(b"/api/bot/x", b"Upgrade: websocket"),
    "upgrade to h2c": _get(
        b"/api/bot/x", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AA"
    ),
    "forged forwarding fields": _get(
        b"/api/bot/x",
        b"X-Forwarded-For: 6.6.6.6",
        b"X-Forwarded-Host: evil.example",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Port: 443",
        b"X-Real-IP: 6.6.6.6",
        b"Forwarded: for=6.6.6.6",
    ),
    "forged by underscores": _get(b"/api/bot/x", b"X_Forwarded_For: 6.6.6.6", b"Content_Length: 5"),
    "own field with an underscore": _get(b"/api/bot/x", b"X_Own: 1"),
    "own field with a dot": _get(b"/api/bot/x", b"X.Own: 1"),
    "field twice": _get(b"/api/bot/x", b"X-Own: 1", b"x-own: 2", b"Cookie: a=1", b"Cookie: b=2"),
    "empty field": _get(b"/api/bot/x", b"X-Own:", b"X-Other: "),
    "space around a value": _get(b"/api/bot/x", b"X-Own: \t 1 \t "),
    "value beyond ASCII": _get(b"/api/bot/x", b"X-Own: caf\xc3\xa9"),
    "credentials and conditions": _get(
        b"/api/bot/x", b"Authorization: Bearer x", b"If-None-Match: *", b"Range: bytes=0-1"
    ),
    "request id": _get(b"/api/bot/x", b"X-Request-ID: mine"),
    "long field": _get(b"/api/bot/x", b"X-Own: " + b"a" * 10_000),
    "long target": _get(b"/api/bot/" + b"a" * 10_000),
    "150 fields": _get(b"/api/bot/x", *(b"X-%d: 1" % i for i in range(150))),
    "empty line before": b"\r\n" + _get(),
    "no Host": b"GET /api/bot/x HTTP/1.1\r\n\r\n",
    "two Hosts": _get(b"/api/bot/x", b"Host: other.example"),
    "Host with a path": _get().replace(b"pub.example", b"pub.example/x"),
    "Host with a user": _get().replace(b"pub.example", b"u@pub.example"),
    "length twice": _post(b"hello", b"Content-Length: 5", b"Content-Length: 5"),
    "two lengths": _post(b"hello", b"Content-Length: 5", b"Content-Length: 6"),
    "list of lengths": _post(b"hello", b"Content-Length: 5, 5"),
    "length with a plus": _post(b"hello", b"Content-Length: +5"),
    "length and coding": _post(_CHUNKS, b"Content-Length: 15", _TE),
    "coding of HTTP/1.0": _post(_CHUNKS, _TE).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "another coding": _post(_CHUNKS, b"Transfer-Encoding: gzip, chunked"),
    "coding twice": _post(_CHUNKS, _TE, _TE),
    "identity": _post(b"", b"Transfer-Encoding: identity"),
    "bad chunk size": _post(b"5x\r\nhello\r\n0\r\n\r\n", _TE),
    "padded chunk size": _post(b"5 \r\nhello\r\n0\r\n\r\n", _TE),
    "chunks ended by LF": _post(b"5\nhello\n0\n\n", _TE),
    "bare LF": _get().replace(b"\r\n", b"\n"),
    "bare CR": _get(b"/api/bot/x", b"X-Own: a\rb"),
    "NUL in a value": _get(b"/api/bot/x", b"X-Own: a\0b"),
    "control character in a value": _get(b"/api/bot/x", b"X-Own: a\x01b"),
    "folded line": _get(b"/api/bot/x", b"X-Own: a", b" b"),
    "space before the colon": _get(b"/api/bot/x", b"X-Own : a"),
    "bad name": _get(b"/api/bot/x", b"X(Own): a"),
    "no colon": _get(b"/api/bot/x", b"X-Own"),
    "two spaces": _get().replace(b" HTTP", b"  HTTP"),
    "bad method": _get(method=b"G@T"),
    "HTTP/1.2": _get(version=b"1.2"),
    "HTTP/2.0": _get(version=b"2.0"),
    "HTTP/0.9": b"GET /api/bot/x\r\n\r\n",
}
