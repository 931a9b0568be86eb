"""The net below all care: takes what looks like a secret out of a log event. Pure.

No code here logs a secret on purpose. This catches what slips through in an exception's text, in
a library's message, or in a value somebody logs next year.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

Plain: TypeAlias = "str | int | float | bool | list[Plain] | dict[str, Plain] | None"

REDACTED = "[redacted]"
_DEEPEST = 6
_LONGEST = 16 * 1024

_REVEALING_NAME = (
    r"(?:secret|token|passw(?:or)?d|passphrase|authorization|signature|credential|cookie"
    r"|api[_-]?key|private[_-]?key|secret[_-]?key|access[_-]?key|client[_-]?key|admin[_-]?key)s?"
)
_REVEALING_KEY = re.compile(rf"(?:^|[^a-z]){_REVEALING_NAME}(?:$|[^a-z])", re.IGNORECASE)

_PATTERNS = (
    (re.compile(r"\bMUXI-HMAC\s.*", re.IGNORECASE), f"MUXI-HMAC {REDACTED}"),
    (re.compile(r"\b(Bearer|Basic|Digest)\s+[A-Za-z0-9+/=._~-]{6,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"\bmuxi_sk_\w+", re.IGNORECASE), REDACTED),
    (re.compile(r"\bsk[_-][A-Za-z0-9_-]{8,}", re.IGNORECASE), REDACTED),
    (re.compile(r"(://[^/\s:@]*:)[^/\s@]+@"), rf"\1{REDACTED}@"),
    (
        re.compile(
            rf"(\b[\w-]*{_REVEALING_NAME}\b[\"']?\s*[:=]\s*[\"']?)(?!\[redacted)[^\s\"'&,;]+", re.IGNORECASE
        ),
        rf"\1{REDACTED}",
    ),
)


def redact_text(text: str) -> str:
    """Blank everything in a text that has the form of a secret, or follows a secret's name."""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}… ({len(text)} characters)"
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def is_secret_name(name: str) -> bool:
    """Tell whether a key's value must never be shown: `auth_token`, `X-Muxi-Client-Key`, …"""
    return _REVEALING_KEY.search(name) is not None


def redact(value: object, depth: int = 0) -> Plain:
    """Return a JSON-able copy with secrets blanked, by the names of keys and by the look of texts."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact_text(value)
    if depth < _DEEPEST:
        if isinstance(value, Mapping):
            return redact_event(value, depth + 1)
        if isinstance(value, list | tuple | set | frozenset):
            return [redact(item, depth + 1) for item in value]
    return redact_text(_shown(value))


def redact_event(event: Mapping[str, object], depth: int = 0) -> dict[str, Plain]:
    """Blank the values of secret names in a mapping, and look through all others."""
    return {
        str(name): REDACTED if is_secret_name(str(name)) else redact(value, depth)
        for name, value in event.items()
    }


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a value that can't be shown must not end the program
        return f"<{type(value).__name__}>"
