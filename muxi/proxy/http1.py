"""HTTP/1.1 heads of requests, strictly: what is ambiguous is refused, never guessed (RFC 9112).

One pass validates a head and sorts its fields: hop-by-hop fields and what `Connection` names go
(RFC 9110 7.6.1), framing fields come back in one canonical form, the rest is kept as the bytes it
was. The work on each byte is done by a regular expression over the whole block (see `fields`).

Framing is what request smuggling lives on, so a message whose length two readers could see
differently is an error here: bare CR or LF, folded lines, space before a colon, more than one
Content-Length, Content-Length beside Transfer-Encoding, any coding but `chunked`.
"""

from __future__ import annotations

import re
from typing import Final

from muxi.proxy.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    FORWARDED,
    FORWARDED_FOR,
    FORWARDED_HOST,
    FORWARDED_PORT,
    FORWARDED_PROTO,
    HOST,
    LINES,
    REQUEST_FIELDS,
    REQUEST_ID,
    SDK,
    TRACE_PARENT,
    TRACE_STATE,
    TRANSFER_ENCODING,
    UPGRADE,
    Special,
    tokens,
)
from muxi.proxy.heads import CHUNKED, NOT_HTTP, HeadError, RequestHead, ResponseHead
from muxi.proxy.trace import is_valid

MAX_LINE: Final = 16 << 10
MAX_HEAD: Final = 64 << 10
MAX_FIELDS: Final = 200
#: A head not longer than this can't have too many fields, nor too long a line.
SMALL_HEAD: Final = 2 * MAX_FIELDS
MAX_LENGTH: Final = (1 << 63) - 1

#: The record type of a ClientHello, and the first byte of its version (RFC 8446 5.1).
TLS_HELLO: Final = b"\x16\x03"
HEAD_END: Final = b"\r\n\r\n"
_METHOD: Final = rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64})"
#: Odd characters pass, for clients send them; bytes beyond ASCII are in no URI (RFC 3986 2, RFC 9112 3.2).
_TARGET: Final = rb"([\x21-\x7e]+)"
_REQUEST: Final = re.compile(
    rb"(?:\r\n){0,2}" + _METHOD + b" " + _TARGET + rb" HTTP/1\.([01])" + LINES + rb"\r\n\r\n"
)
_REQUEST_LINE: Final = re.compile(_METHOD + b" " + _TARGET + rb" HTTP/([0-9]\.[0-9])")
_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]*)(?::[0-9]{0,5})?")
_ABSOLUTE: Final = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#@]+)((?:[/?].*)?)")


def longest_line(max_head: int) -> int:
    """Give the most bytes of a request line, where a head has at most `max_head`."""
    return min(MAX_LINE, max_head // 2)


def has_bare_line_end(data: bytes) -> bool:
    """Tell whether a CR or an LF stands alone; the last byte may be a CR whose LF is to come."""
    pairs = data.count(b"\r\n")
    return data.count(b"\n") != pairs or data.count(b"\r") != pairs + data.endswith(b"\r")


def check_partial(data: bytes, max_head: int = MAX_HEAD) -> None:
    """Refuse the beginning of a head that can't become a good one. Raises HeadError."""
    max_line = longest_line(max_head)
    if has_bare_line_end(data):
        raise HeadError(400, "a line does not end in CR LF")
    if len(data) > max_line and data.find(b"\r\n", 2, max_line) < 0:
        raise HeadError(414, f"the request line is longer than {max_line} bytes")
    if len(data) > max_head:
        raise HeadError(431, f"the head is larger than {max_head} bytes")


def parse_request_head(data: bytes, max_head: int = MAX_HEAD) -> RequestHead | None:
    """Parse the head at the start of `data`, or None while its end is missing. Raises HeadError.

    One or two empty lines before it are passed over (RFC 9112 2.2).
    """
    # A head may come in single bytes: nothing slower than a search is done until it is complete.
    match = _REQUEST.match(data) if HEAD_END in data else None
    if match is None:
        _refuse_request(data, max_head)
        return None
    method, target, minor, block = match.groups()
    size = match.end()
    if size > SMALL_HEAD:
        _check_request_size(match.start(4) - match.start(1), size, block, max_head)
    head = RequestHead(method, target, minor == b"1", size)
    _request_fields(head, block)
    return head


def _refuse_request(data: bytes, max_head: int) -> None:
    """Say what is wrong with a head that did not match; return when it is only not complete yet."""
    if data.startswith(TLS_HELLO):
        raise HeadError(NOT_HTTP, "TLS on a port without it")
    start = 0
    while start < 4 and data.startswith(b"\r\n", start):
        start += 2
    end = data.find(HEAD_END, start)
    if end < 0:
        check_partial(data[start:], max_head)
        return
    line, block = _halves(data, start, end)
    _check_request_size(len(line), end - start, block, max_head)
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        if not line.isascii():
            raise HeadError(400, "the request line has bytes beyond ASCII; in a URL they are written %XX")
        raise HeadError(400, "the request line is malformed")
    if match[3] not in {b"1.0", b"1.1"}:
        raise HeadError(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    raise HeadError(400, "a header field is malformed, or a line does not end in CR LF")


def _halves(data: bytes, start: int, end: int) -> tuple[bytes, bytes]:
    """Split a head into its first line and its field lines, each with its CR LF before it."""
    middle = data.find(b"\r\n", start, end)
    return (data[start:end], b"") if middle < 0 else (data[start:middle], data[middle:end])


def _check_request_size(line: int, size: int, block: bytes, max_head: int) -> None:
    if line > longest_line(max_head):
        raise HeadError(414, f"the request line is longer than {longest_line(max_head)} bytes")
    if size > max_head or block.count(b"\n") > MAX_FIELDS:
        raise HeadError(431, "the head is too large")


def _request_fields(head: RequestHead, block: bytes) -> None:
    head.fields, special = REQUEST_FIELDS.sort(block)
    named = _act_on(head, special)
    if named:
        apply_connection(head, named)
    if not head.target.startswith(b"/"):
        _reduce_target(head)
    if _HOST.fullmatch(head.host) is None:
        raise HeadError(400, "the Host field is malformed")
    if head.upgrade is not None and b"upgrade" not in tokens(named):
        head.upgrade = None


def _act_on(head: RequestHead, special: list[Special]) -> bytes:
    """Fill the head from its special fields; give the values of Connection."""
    named, hosts, framings = b"", 0, 0
    for kind, line, value in special:
        if kind == HOST:
            hosts += 1
            head.host = value
        elif kind == CONNECTION:
            named += b"," + value
        elif kind in {CONTENT_LENGTH, TRANSFER_ENCODING}:
            framings += 1
            _request_framing(head, kind, value)
        else:
            _note(head, kind, line, value)
    if framings > 1:
        raise HeadError(400, "the length of the body is given more than once")
    if hosts != 1 and (hosts or head.http11):
        raise HeadError(400, "exactly one Host field is needed")
    return named


def _request_framing(head: RequestHead, kind: int, value: bytes) -> None:
    if kind == CONTENT_LENGTH:
        head.length = body_length(value, 400)
        head.fields.append(b"Content-Length: %d" % head.length)
        return
    if not head.http11:
        raise HeadError(400, "HTTP/1.0 has no Transfer-Encoding")
    _only_chunked(value)
    head.length = CHUNKED
    head.fields.append(b"Transfer-Encoding: chunked")


def _note(head: RequestHead, kind: int, line: bytes, value: bytes) -> None:
    """Fields that we act on; those that come more than once are lists, and are joined."""
    if kind == EXPECT:
        if head.http11 and value.lower() == b"100-continue":
            head.fields.append(line)
    elif kind == UPGRADE:
        head.upgrade = value if head.upgrade is None else head.upgrade + b", " + value
    elif kind == FORWARDED_FOR:
        head.forwarded_for = value if head.forwarded_for is None else head.forwarded_for + b", " + value
    elif kind == FORWARDED_HOST:
        head.forwarded_host = value
    elif kind == FORWARDED_PROTO:
        head.forwarded_proto = value
    elif kind == REQUEST_ID:
        head.request_id = value
    else:
        _note_context(head, kind, line, value)


def _note_context(head: RequestHead, kind: int, line: bytes, value: bytes) -> None:
    """Rarer ones: those of a trace, of an SDK, of proxies."""
    if kind == TRACE_PARENT:
        # Of several the first that is valid counts.
        if not head.traced and is_valid(value):
            head.traced = True
            head.fields.append(line)
    elif kind == TRACE_STATE:
        head.trace_state = [*(head.trace_state or ()), line]
    elif kind == SDK:
        head.sdk = value
        head.fields.append(line)
    elif kind == FORWARDED:
        head.forwarded = value if head.forwarded is None else head.forwarded + b", " + value
    elif kind == FORWARDED_PORT:
        head.forwarded_port = value


def body_length(value: bytes, status: int) -> int:
    """Read a Content-Length; where it is malformed raise HeadError with that status."""
    digits = value.strip(b" \t")
    # isdigit alone: no sign, no underscore, no list; both are accepted by int().
    if not digits.isdigit() or len(digits) > 19 or (length := int(digits)) > MAX_LENGTH:
        raise HeadError(status, "Content-Length is not a number of bytes")
    return length


def _only_chunked(value: bytes) -> None:
    coding = value.strip(b" \t").lower()
    if coding == b"chunked":
        return
    if coding.endswith(b"chunked") and b"," in coding:
        raise HeadError(501, "no transfer coding but chunked is known here")
    raise HeadError(400, "the last transfer coding is not chunked")


def apply_connection(head: RequestHead | ResponseHead, value: bytes) -> None:
    """Obey `close` and `keep-alive`, and drop the fields that are named (never the framing)."""
    only = value.strip(b" \t,").lower()
    if only == b"keep-alive":
        head.keep_alive = True
        return
    named = tokens(only)
    if b"close" in named:
        head.keep_alive = False
    elif b"keep-alive" in named:
        head.keep_alive = True
    named -= {b"close", b"keep-alive", b"upgrade", b"te", b"content-length", b"transfer-encoding"}
    if named:
        head.fields[:] = [line for line in head.fields if line.partition(b":")[0].lower() not in named]


def _reduce_target(head: RequestHead) -> None:
    """Make an absolute target an origin one (RFC 9112 3.2.2); `*` is OPTIONS's alone."""
    if head.method == b"CONNECT":
        raise HeadError(501, "this is not a forward proxy")
    if head.target == b"*" and head.method == b"OPTIONS":
        return
    match = _ABSOLUTE.fullmatch(head.target)
    if match is None:
        raise HeadError(400, "the request target is malformed")
    head.host, rest = match.groups()
    head.target = rest if rest.startswith(b"/") else b"/" + rest
