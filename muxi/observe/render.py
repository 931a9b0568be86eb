"""Log events as lines: JSON for machines, text for people. Pure.

Values come from everywhere, also from requests. A line stays one line, and no control character
reaches a terminal: what isn't plain is escaped.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_BARE = re.compile(r"[^\s\"'=\\\x00-\x1f\x7f-\x9f]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "31;1"}
_FIRST = ("time", "level", "event")
_LAST = ("exception",)


def json_line(event: Mapping[str, object]) -> str:
    """One JSON object: time, level and event first, then the fields in the order given."""
    ordered = {name: event[name] for name in _FIRST if name in event}
    return json.dumps(ordered | dict(event), separators=(",", ":"), default=str)


def text_line(event: Mapping[str, object], *, colour: bool = False) -> str:
    """`time level event  key=value …`, then a traceback if there is one, indented."""
    level = str(event.get("level", ""))
    shown_level = f"\x1b[{_COLOURS.get(level, '0')}m{level:<8}\x1b[0m" if colour else f"{level:<8}"
    head = f"{event.get('time', '')} {shown_level} {_escape(str(event.get('event', '')))}"
    fields = [
        f"{_escape(name)}={_value(value)}"
        for name, value in event.items()
        if name not in _FIRST and name not in _LAST
    ]
    line = f"{head}  {' '.join(fields)}" if fields else head
    if trace := event.get("exception"):
        line += "".join(f"\n    {_escape(row)}" for row in str(trace).splitlines())
    return line


def _value(value: object) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value):
        return value
    return _escape(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))


def _escape(text: str) -> str:
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
