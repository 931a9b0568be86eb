"""Times as texts: RFC 3339 in UTC, as answers, audit lines and files have them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=4096)  # a list of formations holds the same few times again and again
def rfc3339(seconds: float) -> str:
    """Turn Unix seconds into RFC 3339 with milliseconds and zone: `2026-01-02T03:04:05.678Z`."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
