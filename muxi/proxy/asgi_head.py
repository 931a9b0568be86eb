"""A request's head, from ASGI's form into HTTP/1.1's: pure, and as strict as the parser.

HTTP/2 has no lines, so its names and values may hold what would end a line in HTTP/1.1. Nothing is
written here that the parser could read in another way than as the field it was (RFC 9113 10.3).
"""

from __future__ import annotations

import re
from typing import Final

from muxi.proxy.heads import HeadError

Fields = list[tuple[bytes, bytes]]

TARGET: Final = re.compile(rb"/[\x21-\x7e]*|\*")
METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]{1,256}")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
#: What speaks of a connection has no place in HTTP/2 (RFC 9113 8.2.2).
_OF_CONNECTION: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)


def check_fields(fields: Fields) -> None:
    """Refuse fields that a request over HTTP/2 can't have. Raises HeadError 400."""
    lengths = 0
    for name, value in fields:
        if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise HeadError(400, "a header field is malformed")
        if name in _OF_CONNECTION or (name == b"te" and value.strip().lower() != b"trailers"):
            raise HeadError(400, "a header field belongs to HTTP/1.1")
        lengths += name == b"content-length"
    if lengths > 1:
        raise HeadError(400, "the length of the body is given more than once")


def http1_head(method: str, target: bytes, fields: Fields, *, length: int | None) -> bytes:
    """Write the head that asks for the same by HTTP/1.1. Raises HeadError 400.

    `length` is the body's; None: it is sent in chunks. `Cookie` may come in crumbs over HTTP/2, and
    is one field again (RFC 9113 8.2.3).
    """
    if METHOD.fullmatch(method.encode("latin-1", "replace")) is None or TARGET.fullmatch(target) is None:
        raise HeadError(400, "the request line is malformed")
    check_fields(fields)
    lines = [b"%b %b HTTP/1.1" % (method.encode(), target)]
    cookies = [value for name, value in fields if name == b"cookie"]
    lines += [b"%b: %b" % item for item in fields if item[0] not in {b"cookie", b"content-length"}]
    if cookies:
        lines.append(b"cookie: " + b"; ".join(cookies))
    if length is None:
        lines.append(b"transfer-encoding: chunked")
    elif length or method not in {"GET", "HEAD", "OPTIONS", "DELETE", "TRACE"}:
        lines.append(b"content-length: %d" % length)
    return b"\r\n".join((*lines, b"", b""))
