"""The MUXI-HMAC scheme of signing requests. Pure: no clock, no keys of its own, no I/O.

A request carries `Authorization: MUXI-HMAC key=K, timestamp=T, signature=S`, where S is the padded
base64 of HMAC-SHA256 over `T;METHOD;PATH` under the secret's text, prefix included, and T is Unix
seconds as sent. Query, body and other headers are not signed (http-api.md 2).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

SCHEME = "MUXI-HMAC "

_PARAMETERS = ("key", "timestamp", "signature")
_TIMESTAMP = re.compile(r"[+-]?[0-9]{1,18}")  # what fits a 64-bit integer for sure


@dataclass(frozen=True, slots=True)
class Credentials:
    """The three parameters of the header, as sent. The signature is kept out of the repr."""

    key: str
    timestamp: str
    signature: str = field(repr=False)

    @property
    def time(self) -> int | None:
        """The timestamp in Unix seconds; None when it is not an integer."""
        return int(self.timestamp) if _TIMESTAMP.fullmatch(self.timestamp) else None


def signed_path(target: str | bytes) -> bytes:
    """Return a request target up to its query: what clients sign (clients.md 1.2)."""
    return _octets(target).partition(b"?")[0]


def canonical_message(timestamp: str, method: str, path: str | bytes) -> bytes:
    """Return the octets that are signed. The path is taken as it is given, query included."""
    return b";".join((_octets(timestamp), _octets(method.upper()), _octets(path)))


def sign(secret: str, timestamp: str, method: str, path: str | bytes) -> str:
    """Return the signature of one request, in padded base64."""
    message = canonical_message(timestamp, method, path)
    digest = hmac.new(_octets(secret), message, hashlib.sha256).digest()
    return base64.b64encode(digest).decode("ascii")


def authorization_header(key_id: str, secret: str, method: str, target: str, timestamp: int) -> str:
    """Return the value of the Authorization header that a client sends; `target` may have a query."""
    signature = sign(secret, str(timestamp), method, signed_path(target))
    return f"{SCHEME}key={key_id}, timestamp={timestamp}, signature={signature}"


def parse_authorization(header: str) -> Credentials | None:
    """Read the header; None when the scheme is another one or a parameter is missing or empty.

    Parameters come in any order, unknown ones are passed over, and a value is everything after
    the first "=", so that base64 padding survives. A name given twice is refused: two readers
    of such a header could each take another one.
    """
    if not header.startswith(SCHEME):
        return None
    found: dict[str, str] = {}
    for parameter in header[len(SCHEME) :].split(","):
        name, _, value = parameter.strip(" ").partition("=")
        if name in _PARAMETERS and name in found:
            return None
        found[name] = value
    key, timestamp, signature = (found.get(name, "") for name in _PARAMETERS)
    if not (key and timestamp and signature):
        return None
    return Credentials(key, timestamp, signature)


def verify(secret: str, credentials: Credentials, method: str, target: str | bytes) -> bool:
    """Tell whether the signature is that of this method and path under this secret.

    Clients sign the path as they send it, the original server checked it percent-decoded; either
    is right, so that an id that needs escaping works with both. Both name the same resource, and
    both are always computed, so the time taken tells nothing about which one fitted.
    A path signed together with its query, as the CLI's first release did for logs, is refused.
    """
    raw = signed_path(target)
    sent = _octets(credentials.signature)
    wire = sign(secret, credentials.timestamp, method, raw).encode()
    decoded = sign(secret, credentials.timestamp, method, unquote_to_bytes(raw)).encode()
    return hmac.compare_digest(sent, wire) | hmac.compare_digest(sent, decoded)


def _octets(value: str | bytes) -> bytes:
    # surrogatepass: text that is no text must fail to verify, not crash
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
