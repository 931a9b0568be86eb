"""HTTP/1.1 heads of responses: as strict as those of requests in all that is framing (see `http1`).

A formation's server may be old or odd, so what changes no length is let pass: the reason phrase may
be missing, and a Content-Length may be repeated with the same value.
"""

from __future__ import annotations

import re
from typing import Final

from muxi.proxy.fields import (
    ALLOW_ORIGIN,
    CONNECTION,
    CONTENT_LENGTH,
    LINES,
    LOCATION,
    REQUEST_ID,
    RESPONSE_FIELDS,
    UPGRADE,
)
from muxi.proxy.heads import CHUNKED, HeadError, ResponseHead
from muxi.proxy.http1 import HEAD_END, MAX_FIELDS, MAX_HEAD, apply_connection, body_length, has_bare_line_end

#: Response fields that are noted.
NOTED: Final = frozenset({ALLOW_ORIGIN, LOCATION, REQUEST_ID, UPGRADE})
_STATUS: Final = rb"HTTP/1\.([01]) (([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?)"
_RESPONSE: Final = re.compile(_STATUS + LINES + rb"\r\n\r\n")


def parse_response_head(data: bytes, method: bytes) -> ResponseHead | None:
    """Parse the head of a response to `method` at the start of `data`; None while its end is missing.

    Raises HeadError 502 where the framing is ambiguous. The reason phrase may be missing, and a
    Content-Length may be repeated with the same value.
    """
    match = _RESPONSE.match(data) if HEAD_END in data else None
    if match is None:
        if HEAD_END in data or len(data) > MAX_HEAD or has_bare_line_end(data):
            raise HeadError(502, "the response head is malformed")
        return None
    minor, status_line, digits, block = match.groups()
    size = match.end()
    if size > MAX_HEAD or block.count(b"\n") > MAX_FIELDS:
        raise HeadError(502, "the response head is too large")
    head = ResponseHead(int(digits), status_line, minor == b"1", size)
    _response_fields(head, block)
    if method == b"HEAD" or head.status < 200 or head.status in {204, 304}:
        head.length = 0
    return head


def _response_fields(head: ResponseHead, block: bytes) -> None:
    head.fields, special = RESPONSE_FIELDS.sort(block)
    named, codings, length = b"", 0, -1
    for kind, line, value in special:
        if kind == CONNECTION:
            named += b"," + value
        elif kind == CONTENT_LENGTH:
            length = _same_length(value, length)
        elif kind in NOTED:
            _note_response(head, kind, line)
        else:
            codings += 1
            if value.lower() != b"chunked":
                raise HeadError(502, "the transfer coding is not chunked")
    if named:
        apply_connection(head, named)
    if codings:
        _chunked_response(head, codings, length)
    elif length >= 0:
        head.length = length
        if head.status >= 200 and head.status != 204:
            head.fields.append(b"Content-Length: %d" % length)


def _same_length(value: bytes, before: int) -> int:
    length = body_length(value, 502)
    if before not in {-1, length}:
        raise HeadError(502, "two different lengths are given")
    return length


def _pass_upgrade(head: ResponseHead, line: bytes) -> None:
    """Pass on what the formation switches to, or asks for; elsewhere it is an offer to us alone."""
    if head.status in {101, 426}:
        head.fields += [line, b"Connection: Upgrade"]


def _note_response(head: ResponseHead, kind: int, line: bytes) -> None:
    """Fields that we want to know of; all but Upgrade pass."""
    if kind == UPGRADE:
        _pass_upgrade(head, line)
        return
    head.fields.append(line)
    if kind == ALLOW_ORIGIN:
        head.allows_origin = True
    elif kind == LOCATION:
        head.relocates = True
    else:
        head.has_id = True


def _chunked_response(head: ResponseHead, codings: int, length: int) -> None:
    if codings > 1 or length >= 0 or not head.http11:
        raise HeadError(502, "the length of the body is given more than once")
    head.length = CHUNKED
