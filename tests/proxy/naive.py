"""Readers of HTTP/1 that are careless in the ways real servers have been.

What leaves the proxy has to look the same to all of them.
"""

from __future__ import annotations

import re
from enum import Enum

_HEX = re.compile(rb"[ \t+]*(?:0x)?([0-9A-Fa-f]+)", re.IGNORECASE)
_JUNK = b" \t\x00\x0b\x0c\x7f\xa0\"',"


class Prefers(Enum):
    """Which of the fields that give a length is believed."""

    CODING = "Transfer-Encoding"
    FIRST = "the first Content-Length"
    LAST = "the last Content-Length"


def read_carelessly(data: bytes, prefers: Prefers) -> list[bytes]:
    """Give the request lines of the whole requests in `data`."""
    lines = []
    while data.strip(b"\r\n\0 "):
        data = data.lstrip(b"\r\n\0 ")
        head, end, rest = _until_empty_line(data)
        if not end:
            break
        after = _after_body(head, rest, prefers)
        if after is None:
            break
        lines.append(head.split(b"\n")[0].strip())
        data = after
    return lines


def _until_empty_line(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Split at an empty line; LF, or CR alone, ends a line as well."""
    match = re.search(rb"\r?\n\r?\n|\r\r", data)
    if match is None:
        return data, b"", b""
    return data[: match.start()], match[0], data[match.end() :]


def _after_body(head: bytes, rest: bytes, prefers: Prefers) -> bytes | None:
    """Give what follows the body; None if not all of it is there."""
    codings, lengths = list[bytes](), list[int]()
    for line in re.split(rb"\r\n|\r|\n", head)[1:]:
        name, _, value = line.partition(b":")
        name = name.strip(_JUNK).lower().replace(b"_", b"-").replace(b"\0", b"").replace(b"\xad", b"-")
        if name == b"transfer-encoding":
            codings.append(value.strip(_JUNK).lower())
        elif name == b"content-length":
            lengths += [int(digits) for digits in re.findall(rb"[0-9]+", value)]
    chunked = any(b"chunked" in coding for coding in codings)
    if chunked and (prefers is Prefers.CODING or not lengths):
        return _after_chunks(rest)
    length = lengths[0 if prefers is Prefers.FIRST else -1] if lengths else 0
    return rest[length:] if len(rest) >= length else None


def _after_chunks(data: bytes) -> bytes | None:
    while True:
        line, end, data = data.partition(b"\n")
        match = _HEX.match(line)
        if not end or match is None:
            return None
        size = int(match[1], 16)
        if size == 0:
            # Trailers, be they what they may, up to an empty line.
            while end and line.strip():
                line, end, data = data.partition(b"\n")
            return data if end else None
        if len(data) < size:
            return None
        data = data[size:].removeprefix(b"\r").removeprefix(b"\n")
