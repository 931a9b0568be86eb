"""How what a formation sees of a request differs from what it would see behind nginx, and why.

`+` is ours and `-` is nginx's (1.22, with the configuration in tests/proxy/nginx.py). Bodies are
compared without their framing. What is not listed is the same.
"""

from __future__ import annotations

from typing import Final

#: Of every request that both forward.
ALWAYS: Final = {
    "+ x-request-id: NEW": "an id for the logs of both sides; the client's own is passed on",
    "+ traceparent: NEW": "a trace is begun where the client began none (W3C Trace Context)",
    "+ x-muxi-server: 9.9.9": "formations are told which server they are behind",
}

_RAW: Final = "targets reach the formation byte for byte; nginx decodes, cleans and encodes them again"
_FRAMING: Final = (
    "the framing is kept, so that nothing waits for the end; nginx had all of a short body and counted it"
)
_PASSED: Final = {"+ answered 200, forwarded"}
_LAX: Final = {"+ answered 400, not forwarded", "- answered 200, forwarded"}


def _raw(ours: str, theirs: str) -> tuple[set[str], str]:
    return {f"+ GET {ours} HTTP/1.1", f"- GET {theirs} HTTP/1.1"}, _RAW


def _chunked() -> tuple[set[str], str]:
    return {"+ transfer-encoding: chunked", "- content-length: 5"}, _FRAMING


DIFFERENCES: Final[dict[str, tuple[set[str], str]]] = {
    "trace": (_PASSED | {"- answered 405, not forwarded"}, "a method is the formation's affair"),
    "method in lower case": (
        _PASSED | {"- answered 400, not forwarded"},
        "a method is any token (RFC 9110 9.1), and the formation's affair",
    ),
    "chunked": _chunked(),
    "chunked in capitals": _chunked(),
    "chunked with an extension": _chunked(),
    "chunked with a trailer": (
        {"+ transfer-encoding: chunked", "- content-length: 5"},
        f"{_FRAMING}, and dropped the trailer",
    ),
    "expect": (
        {"+ expect: 100-continue"},
        "whether to go on is for the formation to say; nginx says it unasked",
    ),
    "encoded slash": _raw("/a%2Fb", "/a/b"),
    "encoded letter": _raw("/%61", "/a"),
    "two slashes": _raw("//a//b", "/a/b"),
    "dots": _raw("/a/../b/./c", "/b/c"),
    "encoded dots": _raw("/a/%2e%2e/b", "/b"),
    "empty query": _raw("/x?", "/x"),
    "encoded line end": _raw("/a%0d%0ab", "/a%0D%0Ab"),
    "fragment": _raw("/x#y", "/x"),
    "UTF-8": (
        # The formation's own parser, h11, refuses it.
        {"+ answered 400, not forwarded", "- answered 502, forwarded"},
        "a target is ASCII (RFC 9112 3.2, RFC 3986 2); who writes other bytes is told of %XX",
    ),
    "percent alone": (_PASSED | {"- answered 400, not forwarded"}, _RAW),
    "encoded NUL": (_PASSED | {"- answered 400, not forwarded"}, _RAW),
    "absolute target": (
        {"+ x-forwarded-host: other.example", "- x-forwarded-host: pub.example"},
        "the target's host is the one that counts, and Host is ignored (RFC 9112 3.2.2)",
    ),
    "HTTP/1.0 without Host": ({"+ x-forwarded-host: "}, "no host was named; the field is there, and says so"),
    "fields that Connection names": ({"- x-own: 1"}, "they are for one hop only (RFC 9110 7.6.1)"),
    "hop-by-hop fields": (
        {"- proxy-authorization: Basic eDp5", "- proxy-connection: keep-alive"},
        "they are for the proxy, not for who is behind it (RFC 9110 7.6.1, 11.7.2)",
    ),
    "upgrade to h2c": (
        {"- http2-settings: AA"},
        "it belongs to an upgrade that is not passed on (RFC 9113 3.1)",
    ),
    "forged forwarding fields": (
        {"- forwarded: for=6.6.6.6", "- x-forwarded-port: 443"},
        "from a peer that is not trusted none is believed; nginx's recipes forget some",
    ),
    "own field with an underscore": (
        {"+ x_own: 1"},
        "it is a good name; only those that imitate ours are dropped",
    ),
    "own field with a dot": (
        {"+ x.own: 1"},
        "it is a good name (RFC 9110 5.1); nginx drops it unless told otherwise",
    ),
    "long field": (
        _PASSED | {"- answered 400, not forwarded"},
        "our limit is 64 kB for the head, nginx's 8 kB a line",
    ),
    "long target": (
        _PASSED | {"- answered 414, not forwarded"},
        "our limit is 16 kB for the line, nginx's 8 kB",
    ),
    "identity": (
        {"+ answered 400, not forwarded", "- answered 501, not forwarded"},
        "the last coding is not chunked: 400 (RFC 9112 6.3)",
    ),
    "Host with a user": (_LAX, "a Host has no user (RFC 9110 7.2)"),
    "padded chunk size": (_LAX, "no space after a chunk's size (RFC 9112 7.1)"),
    "chunks ended by LF": (_LAX, "a line ends in CR LF; a bare LF is how requests are smuggled"),
    "bare LF": (_LAX, "a line ends in CR LF; a bare LF is how requests are smuggled"),
    "control character in a value": (_LAX, "no control characters in values (RFC 9110 5.5)"),
    "bad name": (_LAX, "a name is a token (RFC 9110 5.1); nginx drops the field"),
    "no colon": (_LAX, "a field has a colon (RFC 9112 5); nginx passes it on as an empty one"),
    "two spaces": (_LAX, "single spaces in the request line (RFC 9112 3)"),
    "HTTP/1.2": (
        {"+ answered 505, not forwarded", "- answered 200, forwarded"},
        "there is no such version, and nobody knows what it would mean",
    ),
    "HTTP/0.9": (
        {"+ answered 400, not forwarded", "- answered 0, forwarded"},
        "nobody has spoken it for decades",
    ),
}
