"""Numbers as Prometheus reads them: the text exposition format, version 0.0.4. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
EXACT: Final = 2**53
"""Below it every whole number is a float of its own."""


@dataclass(slots=True)
class Family:
    """All series of one name. Durations are seconds, sizes bytes; a counter's name ends in `_total`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    lines: list[str] = field(default_factory=list)

    def add(self, value: float, **labels: str) -> None:
        """Add a series of a counter or a gauge."""
        self.lines.append(_line(self.name, labels, value))

    def add_histogram(
        self, bounds: Sequence[float], counts: Sequence[int], total: float, **labels: str
    ) -> None:
        """Add the series of a histogram: `counts` between the bounds, the last one above all of them."""
        seen = 0
        for bound, count in zip((*bounds, math.inf), counts, strict=True):
            seen += count
            self.lines.append(_line(f"{self.name}_bucket", {**labels, "le": _number(bound)}, seen))
        self.lines.append(_line(f"{self.name}_sum", labels, total))
        self.lines.append(_line(f"{self.name}_count", labels, seen))


def render(families: Iterable[Family]) -> str:
    """Write them out; those without series are left out."""
    return "".join(_text(family) for family in families if family.lines)


def _text(family: Family) -> str:
    return "".join(f"{line}\n" for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    said = family.help.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {family.name} {said}"
    yield f"# TYPE {family.name} {family.kind}"
    yield from family.lines


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    written = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{written}}} {_number(value)}" if written else f"{name} {_number(value)}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if abs(value) < EXACT and value == int(value) else repr(float(value))
