"""Which header fields are ours to act on, and which are the formation's.

A table of the usual spellings spares the hot path a `lower()` and a character check for each
field; any other spelling is checked and folded once, by `classify`.
"""

from __future__ import annotations

import re
from typing import Final

#: What to do with a field.
KEEP: Final = 0
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

#: Hop-by-hop fields (RFC 9110 7.6.1), and what only we may tell a formation.
_SPECIAL: Final = {
    b"connection": CONNECTION,
    b"content-length": CONTENT_LENGTH,
    b"expect": EXPECT,
    b"forwarded": DROP,
    b"host": HOST,
    b"http2-settings": DROP,
    b"keep-alive": DROP,
    b"proxy-authorization": DROP,
    b"proxy-connection": DROP,
    b"te": DROP,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"upgrade": UPGRADE,
    b"x-forwarded-for": FORWARDED_FOR,
    b"x-forwarded-host": FORWARDED_HOST,
    b"x-forwarded-port": DROP,
    b"x-forwarded-prefix": DROP,
    b"x-forwarded-proto": FORWARDED_PROTO,
    b"x-forwarded-scheme": DROP,
    b"x-forwarded-server": DROP,
    b"x-forwarded-ssl": DROP,
    b"x-muxi-server": DROP,
    b"x-real-ip": DROP,
    b"x-request-id": REQUEST_ID,
}

#: Usual fields that pass; a matter of speed only.
_USUAL: Final = (
    b"accept accept-charset accept-encoding accept-language accept-ranges access-control-allow-origin "
    b"access-control-request-headers access-control-request-method age allow authorization baggage "
    b"cache-control content-disposition content-encoding content-language content-type cookie date dnt etag "
    b"expires if-match if-modified-since if-none-match if-range if-unmodified-since last-event-id "
    b"last-modified "
    b"link location max-forwards mcp-protocol-version mcp-session-id origin pragma priority range referer "
    b"retry-after sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site "
    b"sec-fetch-user server set-cookie strict-transport-security traceparent tracestate trailer "
    b"upgrade-insecure-requests user-agent vary via www-authenticate x-accel-buffering x-api-key "
    b"x-content-type-options x-frame-options x-muxi-admin-key x-muxi-client x-muxi-client-key "
    b"x-muxi-idempotency-key x-muxi-sdk x-muxi-user-id x-requested-with"
).split()

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")


def _with_spellings(special: dict[bytes, int]) -> dict[bytes, int]:
    table = dict.fromkeys(_USUAL, KEEP) | special
    return table | {name.title(): kind for name, kind in table.items()}


REQUEST_FIELDS: Final = _with_spellings(_SPECIAL)
RESPONSE_FIELDS: Final = _with_spellings(
    {
        b"connection": CONNECTION,
        b"content-length": CONTENT_LENGTH,
        b"keep-alive": DROP,
        b"proxy-connection": DROP,
        b"te": DROP,
        b"transfer-encoding": TRANSFER_ENCODING,
        b"upgrade": DROP,
    }
)


def classify(name: bytes, table: dict[bytes, int]) -> int | None:
    """Tell what to do with a field of this name; None if it is no name at all (RFC 9110 5.1).

    A request's name with underscores that many frameworks would take for one of ours is dropped:
    CGI-style servers can't tell `X_Forwarded_For` from `X-Forwarded-For`.
    """
    if _TOKEN.fullmatch(name) is None:
        return None
    lower = name.lower()
    kind = table.get(lower)
    if kind is not None:
        return kind
    imitated = table is REQUEST_FIELDS and lower.replace(b"_", b"-") in _SPECIAL
    return DROP if imitated else KEEP


def tokens(value: bytes) -> set[bytes]:
    """Split a comma-separated list of tokens, in lower case."""
    return {token for part in value.lower().split(b",") if (token := part.strip(b" \t"))}
