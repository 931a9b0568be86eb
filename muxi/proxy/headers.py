"""The heads that we write: requests to formations and responses to clients.

A formation sees its own address as Host, and the client's request in the forwarding fields. From
a peer that is not trusted they are replaced, from a trusted one the chain is extended.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from muxi.proxy.heads import RequestHead, ResponseHead

_REQUEST_ID: Final = re.compile(rb"[\x21-\x7e]{1,128}")


def forwarding_fields(peer: str, version: bytes, scheme: bytes = b"http") -> bytes:
    """Give the fields that say who asked, for a peer whose own are not believed."""
    address = peer.encode()
    return b"X-Forwarded-For: %b\r\nX-Real-IP: %b\r\nX-Forwarded-Proto: %b\r\nX-Muxi-Server: %b" % (
        address,
        address,
        scheme,
        version,
    )


def usable_request_id(head: RequestHead) -> bytes | None:
    """Give the client's request id if it is one we pass on: 1 to 128 visible characters."""
    given = head.request_id
    return given if given is not None and _REQUEST_ID.fullmatch(given) is not None else None


def request_head(head: RequestHead, target: bytes, authority: bytes, ours: bytes) -> bytes:
    """Write the head for a formation; `ours` are the forwarding fields."""
    return b"%b %b HTTP/1.1\r\nHost: %b\r\nX-Forwarded-Host: %b\r\nX-Request-ID: %b\r\n%b\r\n\r\n" % (
        head.method,
        target,
        authority,
        head.host,
        head.request_id or b"",
        b"\r\n".join((*head.fields, ours)),
    )


def management_head(head: RequestHead) -> bytes:
    """Write the head for the management app: as it came, without Upgrade and other hop-by-hop fields."""
    lines = [b"%b %b HTTP/1.%d" % (head.method, head.target, head.http11), b"Host: " + head.host]
    lines += head.fields
    if not head.keep_alive:
        lines.append(b"Connection: close")
    if head.request_id is not None:
        lines.append(b"X-Request-ID: " + head.request_id)
    return b"\r\n".join((*lines, b"", b""))


def whole_head(head: RequestHead) -> bytes:
    """Write a head that is read as the same one again: by another process of ours."""
    lines = [b"%b %b HTTP/1.%d" % (head.method, head.target, head.http11)]
    if head.host or head.http11:
        lines.append(b"Host: " + head.host)
    lines += head.fields
    lines += head.trace_state or ()
    options = [] if head.upgrade is None else [b"upgrade"]
    if head.keep_alive != head.http11:
        options.append(b"keep-alive" if head.keep_alive else b"close")
    noted = (
        (b"Connection", b", ".join(options) or None),
        (b"Upgrade", head.upgrade),
        (b"Forwarded", head.forwarded),
        (b"X-Forwarded-For", head.forwarded_for),
        (b"X-Forwarded-Port", head.forwarded_port),
        (b"X-Forwarded-Host", head.forwarded_host),
        (b"X-Forwarded-Proto", head.forwarded_proto),
        (b"X-Request-ID", head.request_id),
    )
    lines += [name + b": " + value for name, value in noted if value is not None]
    return b"\r\n".join((*lines, b"", b""))


def response_head(response: ResponseHead, *, http11: bool, keep_alive: bool, chunked: bool) -> bytes:
    """Write the head for the client."""
    lines = [b"HTTP/1.1 " + response.status_line, *response.fields]
    if chunked:
        lines.append(b"Transfer-Encoding: chunked")
    if not keep_alive:
        lines.append(b"Connection: close")
    elif not http11:
        lines.append(b"Connection: keep-alive")
    return b"\r\n".join((*lines, b"", b""))


def with_reason(data: bytes) -> bytes:
    """Put the usual reason phrase into the head of a response that came without one."""
    line, rest = data[:13], data[13:]
    if not line.startswith(b"HTTP/1.1 ") or not rest.startswith(b"\r\n"):
        return data
    try:
        return line + HTTPStatus(int(line[9:12])).phrase.encode() + rest
    except ValueError:
        return data


def interim_head(response: ResponseHead) -> bytes:
    """Write the head of an interim (1xx) response."""
    return b"\r\n".join((b"HTTP/1.1 " + response.status_line, *response.fields, b"", b""))
