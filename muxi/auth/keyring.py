"""Deciding whether a management request proves who sent it: several keys, one clock, no state.

There is no memory of signatures seen: the official clients repeat the very same header when they
retry (clients.md 1.2), so refusing a repetition would break them.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muxi.auth import scheme
from muxi.errors import Unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterable

    from muxi.auth.credentials import KeyPair

MISSING = "Missing authorization header"
MALFORMED = "Invalid authorization header format"
UNKNOWN_KEY = "Invalid key"
EXPIRED = "Request expired (timestamp too old or in future)"
MISMATCH = "Invalid signature"


@dataclass(frozen=True, slots=True)
class _Entry:
    id: str
    id_digest: bytes
    secret: str


class Keyring:
    """The credentials of a server, and the check of a request against them.

    `tolerance` is how many seconds a client's clock may be off, either way, bounds included.
    """

    def __init__(self, keys: Iterable[KeyPair], tolerance: float = 300.0) -> None:
        self._tolerance = tolerance
        self._entries = tuple(_Entry(pair.id, _digest(pair.id), pair.secret) for pair in keys)
        # Stands in for an unknown key's secret, so that such a request costs the same time.
        self._nobody = _Entry("", b"", secrets.token_hex(32))

    def __repr__(self) -> str:
        return f"<Keyring of {len(self._entries)} keys>"

    @property
    def key_ids(self) -> tuple[str, ...]:
        return tuple(entry.id for entry in self._entries)

    def authenticate(self, authorization: str | None, method: str, path: str | bytes, now: float) -> str:
        """Return the key id that signed this request.

        `path` is the request's target as it came on the wire, escapes and all; a query is
        ignored. `now` is Unix time. Raises Unauthorized with the first of the five reasons that
        applies, in the original's order; none of them repeats what was sent.
        """
        if not authorization:
            raise Unauthorized(MISSING, cure="Sign the request with a key of this server.")
        credentials = scheme.parse_authorization(authorization)
        if credentials is None:
            raise Unauthorized(MALFORMED, cure=f"Send {scheme.SCHEME}key=…, timestamp=…, signature=…")
        entry = self._find(credentials.key)
        verified = scheme.verify(entry.secret, credentials, method, path)
        if entry is self._nobody:
            raise Unauthorized(UNKNOWN_KEY, cure="Use a key id from the server's config.yaml.")
        self._check_clock(credentials.time, now)
        if not verified:
            raise Unauthorized(
                MISMATCH, cure="Check the secret, and that the path is signed without its query."
            )
        return entry.id

    def _find(self, key_id: str) -> _Entry:
        """Compare with every entry, each in constant time; digests make all lengths equal."""
        wanted = _digest(key_id)
        found = self._nobody
        for entry in self._entries:
            if hmac.compare_digest(entry.id_digest, wanted):
                found = entry
        return found

    def _check_clock(self, sent: int | None, now: float) -> None:
        if sent is None:
            raise Unauthorized(EXPIRED, cure="Send the timestamp as whole Unix seconds.")
        # Whole seconds on both sides: a client's clock has no more, and the original compared so.
        offset = sent - int(now)
        if abs(offset) > self._tolerance:
            raise _clock_skew(int(now), offset)


def _clock_skew(server_time: int, offset: int) -> Unauthorized:
    direction = "ahead of" if offset > 0 else "behind"
    return Unauthorized(
        EXPIRED,
        cure=f"The client's clock is {abs(offset)} s {direction} the server's; set one of them right.",
        details={"code_name": "clock_skew", "server_time": server_time, "offset_seconds": offset},
    )


def _digest(key_id: str) -> bytes:
    return hashlib.sha256(key_id.encode("utf-8", "surrogatepass")).digest()
