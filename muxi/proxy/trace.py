"""Trace context: which request is part of what (W3C Trace Context, level 1)."""

from __future__ import annotations

import re
from typing import Final

#: Version, trace id, parent id, flags.
_PARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


def is_valid(traceparent: bytes) -> bool:
    """Tell whether a traceparent can be passed on; else it counts as not sent (section 3.2.2)."""
    match = _PARENT.fullmatch(traceparent)
    if match is None:
        return False
    version, trace, parent, more = match.groups()
    if version == b"ff" or (version == b"00" and more is not None):
        return False
    return bool(trace.strip(b"0") and parent.strip(b"0"))


def new_parent(unique: bytes) -> bytes:
    """Start a trace, named by 32 hexadecimal digits that no other request has.

    It is marked as sampled: common samplers follow their parent, and would keep nothing otherwise.
    """
    return b"traceparent: 00-%b-%b-01" % (unique, unique[16:])
