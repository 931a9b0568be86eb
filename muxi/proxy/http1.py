"""HTTP/1.1 heads, strictly: what is ambiguous is refused, never guessed (RFC 9112).

One pass validates a head and sorts its fields: hop-by-hop fields and what `Connection` names go
(RFC 9110 7.6.1), framing fields come back in one canonical form, the rest is kept as the bytes it
was. The work on each byte is done by `bytes.translate` and `bytes.split`; the loop is per line.

Framing is what request smuggling lives on, so a message whose length two readers could see
differently is an error here: bare CR or LF, folded lines, space before a colon, more than one
Content-Length, Content-Length beside Transfer-Encoding, any coding but `chunked`.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from muxi.proxy.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    DROP,
    EXPECT,
    FORWARDED_FOR,
    FORWARDED_HOST,
    FORWARDED_PROTO,
    HOST,
    KEEP,
    REQUEST_FIELDS,
    REQUEST_ID,
    RESPONSE_FIELDS,
    TRANSFER_ENCODING,
    UPGRADE,
    classify,
    tokens,
)
from muxi.proxy.heads import CHUNKED, HeadError, RequestHead, ResponseHead

#: A field to act on: its kind, its line, its value without the space around it.
Special = tuple[int, bytes, bytes]

MAX_LINE: Final = 16 << 10
MAX_HEAD: Final = 64 << 10
MAX_FIELDS: Final = 200
MAX_LENGTH: Final = (1 << 63) - 1

HEAD_END: Final = b"\r\n\r\n"
#: What may stand in a head beside CRLF: HTAB, visible ASCII, space, obs-text (RFC 9110 5.5).
_TEXT: Final = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
_BARE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
_REQUEST_LINE: Final = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])"
)
_OTHER_VERSION: Final = re.compile(rb"[^ ]+ [^ ]+ HTTP/(?!1\.[01])[0-9]\.[0-9]")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) (([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?)")
_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]*)(?::[0-9]{0,5})?")
_ABSOLUTE: Final = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#@]+)((?:[/?].*)?)")


def check_partial(data: bytes) -> None:
    """Refuse the beginning of a head that can't become a good one. Raises HeadError."""
    if _BARE.search(data) is not None:
        raise HeadError(400, "a line does not end in CR LF")
    if len(data) > MAX_LINE and data.find(b"\r\n", 2, MAX_LINE) < 0:
        raise HeadError(414, f"the request line is longer than {MAX_LINE} bytes")
    if len(data) > MAX_HEAD:
        raise HeadError(431, f"the head is larger than {MAX_HEAD} bytes")


def parse_request_head(data: bytes) -> RequestHead | None:
    """Parse the head at the start of `data`, or None while its end is missing. Raises HeadError.

    One or two empty lines before it are passed over (RFC 9112 2.2).
    """
    start = 0
    while start < 4 and data.startswith(b"\r\n", start):
        start += 2
    end = data.find(HEAD_END, start)
    if end < 0:
        check_partial(data[start:])
        return None
    lines = _lines(data[start:end], 400, 431)
    head = _request_line(lines[0], end + 4)
    _request_fields(head, lines)
    return head


def _lines(block: bytes, malformed: int, too_large: int) -> list[bytes]:
    """Split into the head's lines, all of legal characters and ended by CR LF. Raises HeadError."""
    lines = block.split(b"\r\n")
    if block.translate(None, _TEXT) != b"\r\n" * (len(lines) - 1):
        raise HeadError(malformed, "the head has a control character, or a line that does not end in CR LF")
    if len(block) > MAX_HEAD or len(lines) > MAX_FIELDS + 1:
        raise HeadError(too_large, "the head is too large")
    return lines


def _request_line(line: bytes, size: int) -> RequestHead:
    if len(line) > MAX_LINE:
        raise HeadError(414, f"the request line is longer than {MAX_LINE} bytes")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        if _OTHER_VERSION.fullmatch(line) is not None:
            raise HeadError(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        raise HeadError(400, "the request line is malformed")
    method, target, minor = match.groups()
    return RequestHead(method, target, minor == b"1", size)


def _sort(lines: list[bytes], table: dict[bytes, int], status: int) -> tuple[list[bytes], list[Special]]:
    """Sort into the fields that pass, as they are, and those to act on, as kind, line and value."""
    keep: list[bytes] = []
    special: list[Special] = []
    for line in islice(lines, 1, None):
        name, colon, value = line.partition(b":")
        kind = table.get(name)
        if kind is None:
            kind = classify(name, table)
        if kind is None or not colon:
            raise HeadError(status, "a header field is malformed")
        if kind == KEEP:
            keep.append(line)
        elif kind != DROP:
            special.append((kind, line, value.strip(b" \t")))
    return keep, special


def _request_fields(head: RequestHead, lines: list[bytes]) -> None:
    head.fields, special = _sort(lines, REQUEST_FIELDS, 400)
    named = _act_on(head, special)
    if named:
        _apply_connection(head, named)
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
        head.length = _length(value, 400)
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
        head.upgrade = value.lower() if head.upgrade is None else head.upgrade + b", " + value.lower()
    elif kind == FORWARDED_FOR:
        head.forwarded_for = value if head.forwarded_for is None else head.forwarded_for + b", " + value
    elif kind == FORWARDED_HOST:
        head.forwarded_host = value
    elif kind == FORWARDED_PROTO:
        head.forwarded_proto = value
    elif kind == REQUEST_ID:
        head.request_id = value


def _length(value: bytes, status: int) -> int:
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


def _apply_connection(head: RequestHead | ResponseHead, value: bytes) -> None:
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


def parse_response_head(data: bytes, method: bytes) -> ResponseHead | None:
    """Parse the head of a response to `method` at the start of `data`; None while its end is missing.

    Raises HeadError 502 where the framing is ambiguous. The reason phrase may be missing, and a
    Content-Length may be repeated with the same value.
    """
    end = data.find(HEAD_END)
    if end < 0:
        if len(data) > MAX_HEAD or _BARE.search(data) is not None:
            raise HeadError(502, "the response head is malformed")
        return None
    lines = _lines(data[:end], 502, 502)
    match = _STATUS_LINE.fullmatch(lines[0])
    if match is None:
        raise HeadError(502, "the status line is malformed")
    minor, status_line, digits = match.groups()
    head = ResponseHead(int(digits), status_line, minor == b"1", end + 4)
    _response_fields(head, lines)
    if method == b"HEAD" or head.status < 200 or head.status in {204, 304}:
        head.length = 0
    return head


def _response_fields(head: ResponseHead, lines: list[bytes]) -> None:
    head.fields, special = _sort(lines, RESPONSE_FIELDS, 502)
    named, codings, length = b"", 0, -1
    for kind, _, value in special:
        if kind == CONNECTION:
            named += b"," + value
        elif kind == CONTENT_LENGTH:
            again = _length(value, 502)
            if length >= 0 and length != again:
                raise HeadError(502, "two different lengths are given")
            length = again
        else:
            codings += 1
            if value.lower() != b"chunked":
                raise HeadError(502, "the transfer coding is not chunked")
    if named:
        _apply_connection(head, named)
    if codings:
        _chunked_response(head, codings, length)
    elif length >= 0:
        head.length = length
        if head.status >= 200 and head.status != 204:
            head.fields.append(b"Content-Length: %d" % length)


def _chunked_response(head: ResponseHead, codings: int, length: int) -> None:
    if codings > 1 or length >= 0 or not head.http11:
        raise HeadError(502, "the length of the body is given more than once")
    head.length = CHUNKED
