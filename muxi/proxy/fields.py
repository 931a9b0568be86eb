"""Which header fields are ours to act on, and which are the formation's.

A block of field lines is checked by one regular expression over the whole of it. After that each line
is a name, a colon and a value, and one look into a table tells whose it is.
"""

from __future__ import annotations

import re
from typing import Final

#: What to do with a field.
DROP: Final = 1
HOST: Final = 2
CONNECTION: Final = 3
CONTENT_LENGTH: Final = 4
TRANSFER_ENCODING: Final = 5
UPGRADE: Final = 6
EXPECT: Final = 7
FORWARDED_FOR: Final = 8
FORWARDED_HOST: Final = 9
FORWARDED_PROTO: Final = 10
REQUEST_ID: Final = 11
FORWARDED: Final = 12
FORWARDED_PORT: Final = 13
TRACE_PARENT: Final = 14
TRACE_STATE: Final = 15
SDK: Final = 16
#: Of responses: what passes, and is noted on the way.
LOCATION: Final = 17
ALLOW_ORIGIN: Final = 18

#: Hop-by-hop fields (RFC 9110 7.6.1), and what only we may tell a formation.
_SPECIAL: Final = {
    b"connection": CONNECTION,
    b"content-length": CONTENT_LENGTH,
    b"expect": EXPECT,
    b"forwarded": FORWARDED,
    b"host": HOST,
    b"http2-settings": DROP,
    b"keep-alive": DROP,
    b"proxy-authorization": DROP,
    b"proxy-connection": DROP,
    b"te": DROP,
    b"traceparent": TRACE_PARENT,
    b"tracestate": TRACE_STATE,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"upgrade": UPGRADE,
    b"x-forwarded-for": FORWARDED_FOR,
    b"x-forwarded-host": FORWARDED_HOST,
    b"x-forwarded-port": FORWARDED_PORT,
    b"x-forwarded-prefix": DROP,
    b"x-forwarded-proto": FORWARDED_PROTO,
    b"x-forwarded-scheme": DROP,
    b"x-forwarded-server": DROP,
    b"x-forwarded-ssl": DROP,
    b"x-muxi-sdk": SDK,
    b"x-muxi-server": DROP,
    b"x-real-ip": DROP,
    b"x-request-id": REQUEST_ID,
}

#: A field to act on: its kind, its line, its value without the space around it.
Special = tuple[int, bytes, bytes]

_NAME: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
#: What may stand in a value: HTAB, visible ASCII, space, obs-text (RFC 9110 5.5).
_TEXT: Final = rb"[\t\x20-\x7e\x80-\xff]"
#: Lines, each with the CR LF before it: a name, a colon right behind it, a value (RFC 9112 5).
#: None of the three sets of characters holds what follows it, so a head that does not match is given
#: up after one way back through it. (Possessive repetitions would say so, but Python 3.11 has them
#: wrong before 3.11.5: with groups inside, good heads are refused.)
LINES: Final = rb"((?:\r\n" + _NAME + rb"{1,256}:" + _TEXT + rb"*)*)"
_TOKEN: Final = re.compile(_NAME + rb"{1,256}")


class FieldTable:
    """The fields to act on, by their names in lower case.

    With `imitations`, fields are dropped whose names are one of these but for underscores:
    CGI-style servers can't tell `X_Forwarded_For` from `X-Forwarded-For`.
    """

    def __init__(self, kinds: dict[bytes, int], *, imitations: bool) -> None:
        self._kinds = dict(kinds)
        if imitations:
            self._kinds |= {name: DROP for kind in kinds for name in _imitations(kind)}

    def sort(self, block: bytes) -> tuple[list[bytes], list[Special]]:
        """Sort lines (that `LINES` has matched) into those that pass and those to act on."""
        kept: list[bytes] = []
        special: list[Special] = []
        if not block:
            return kept, special
        kind_of = self._kinds.get
        for line in block[2:].split(b"\r\n"):
            name, _, value = line.partition(b":")
            kind = kind_of(name.lower())
            if kind is None:
                kept.append(line)
            elif kind != DROP:
                special.append((kind, line, value.strip(b" \t")))
        return kept, special


def _imitations(name: bytes) -> list[bytes]:
    """Give the names that differ from one in that hyphens are underscores, at least one of them."""
    first, *others = name.split(b"-")
    found = [first]
    for part in others:
        found = [start + mark + part for start in found for mark in (b"-", b"_")]
    return found[1:]


REQUEST_FIELDS: Final = FieldTable(_SPECIAL, imitations=True)
RESPONSE_FIELDS: Final = FieldTable(
    {
        b"access-control-allow-origin": ALLOW_ORIGIN,
        b"connection": CONNECTION,
        b"content-length": CONTENT_LENGTH,
        b"content-location": LOCATION,
        b"keep-alive": DROP,
        b"location": LOCATION,
        b"proxy-connection": DROP,
        b"te": DROP,
        b"transfer-encoding": TRANSFER_ENCODING,
        b"upgrade": UPGRADE,
        b"x-request-id": REQUEST_ID,
    },
    imitations=False,
)


def is_name(name: bytes) -> bool:
    """Tell whether this can be a field's name (RFC 9110 5.1)."""
    return _TOKEN.fullmatch(name) is not None


def tokens(value: bytes) -> set[bytes]:
    """Split a comma-separated list of tokens, in lower case."""
    return {token for part in value.lower().split(b",") if (token := part.strip(b" \t"))}
