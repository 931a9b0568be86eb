"""Reading server-sent events (WHATWG HTML, 9.2.6). Pure: bytes in, events out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from muxi.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_LINE = 4 * 1024 * 1024
"""The longest line taken, in bytes; the management API's are far shorter."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: its name, and the JSON object of its data."""

    name: str
    data: dict[str, object] = field(default_factory=dict)

    def text(self, key: str) -> str:
        """Return a value as text; "" when it is not there."""
        value = self.data.get(key)
        return "" if value is None else str(value)


def read_events(chunks: Iterable[bytes]) -> Iterator[ServerEvent]:
    """Yield the events of a response's body as they become complete.

    Comments, and fields that the management API does not use, are passed over; so is an event
    that the end of the body cuts off. Raises OperatorError when the data of one is not a JSON object.
    """
    name, data = "message", list[str]()
    for line in _lines(chunks):
        if not line:
            if data:
                yield ServerEvent(name, _decode("\n".join(data)))
            name, data = "message", []
            continue
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "event":
            name = value
        elif key == "data":
            data.append(value)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    # Not splitlines(): it also splits at characters that may stand inside JSON text, as U+2028.
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
        if len(rest) > MAX_LINE:
            raise OperatorError("The server's event stream has a line without an end.")


def _decode(text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise OperatorError("The server's event stream holds something that is not a JSON object.")
    return value
