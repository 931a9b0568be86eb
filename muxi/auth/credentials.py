"""Key ids and their secrets: made, checked, and shown without being given away.

Three shapes exist in the wild: `MUXI_…`/`sk_…` of the first releases, `muxi_pk_…`/`muxi_sk_…` of the
later ones, and pairs made by hand. Any of them works; what a header can't carry does not.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field

KEY_PREFIX = "muxi_pk_"
SECRET_PREFIX = "muxi_sk_"  # noqa: S105 - the public prefix of all secrets
ALLOWED_ID = "visible ASCII without comma, at least 4 characters"
ALLOWED_SECRET = "visible ASCII without comma, at least 16 characters"  # noqa: S105 - a sentence

# A comma ends a parameter of the Authorization header, and clients strip blanks off both values.
_VISIBLE = re.compile(r"[!-+\--~]+")
_MIN_ID = 4
_MIN_SECRET = 16


@dataclass(frozen=True, slots=True)
class KeyPair:
    """One credential. The secret is kept out of the repr."""

    id: str
    secret: str = field(repr=False)


def generate() -> KeyPair:
    """Make a new pair: 96 random bits of id, 224 of secret, from the system's generator."""
    return KeyPair(KEY_PREFIX + secrets.token_hex(12), SECRET_PREFIX + secrets.token_hex(28))


def check_id(text: str) -> str:
    """Return a usable key id unchanged. Raises ValueError, which does not repeat the text."""
    return _check(text, _MIN_ID, "this key id", ALLOWED_ID)


def check_secret(text: str) -> str:
    """Return a usable secret unchanged. Raises ValueError, which does not repeat the text."""
    return _check(text, _MIN_SECRET, "this secret", ALLOWED_SECRET)


def _check(text: str, least: int, name: str, allowed: str) -> str:
    if not _VISIBLE.fullmatch(text):
        raise ValueError(f"{name} has blanks, commas or characters outside ASCII; allowed: {allowed}")
    if len(text) < least:
        raise ValueError(f"{name} is too short; allowed: {allowed}")
    return text


def mask_id(key_id: str) -> str:
    """Show the first twelve characters of a key id, none of a short one."""
    bullets = "•" * 8
    return (key_id[:12] if len(key_id) > 12 else KEY_PREFIX) + bullets


def mask_secret(secret: str) -> str:
    """Show the first eight and last four characters of a secret, none of a short one.

    A secret of fewer than 24 characters would be half shown by that, so it counts as short.
    """
    return f"{secret[:8]}...{secret[-4:]}" if len(secret) >= 24 else "***"
