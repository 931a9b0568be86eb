"""What commands print: tables for people, plain columns for pipes, JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import TextIO

COLOURS = {
    "running": "green",
    "starting": "yellow",
    "stopping": "yellow",
    "restarting": "yellow",
    "unhealthy": "red",
    "crashed": "red",
}


def print_json(value: object) -> None:
    """Print one JSON value on one line or more, readable by any parser."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], stream: TextIO | None = None) -> None:
    """Print rows: ruled and coloured on a terminal, else in columns, a line a row."""
    out = stream or sys.stdout
    listed = [tuple(clean(cell) for cell in row) for row in rows]
    if out.isatty():
        _print_rich(columns, listed, out)
        return
    for line in plain_table(columns, listed):
        print(line, file=out)


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns with two blanks between; headings in capitals, an empty cell as `-`."""
    table = [[column.upper() for column in columns], *([cell or "-" for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(columns))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def print_facts(sections: Mapping[str, Sequence[tuple[str, str]]], stream: TextIO | None = None) -> None:
    """Print titled groups of `name: value`."""
    out = stream or sys.stdout
    for number, (title, facts) in enumerate(sections.items()):
        if number:
            print(file=out)
        print(title, file=out)
        width = max((len(name) for name, _ in facts), default=0) + 1
        for name, value in facts:
            print(f"  {f'{name}:':<{width}} {clean(value)}".rstrip(), file=out)


def clean(text: str) -> str:
    """Take control characters out: what a formation calls itself must not steer a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def as_text(value: object) -> str:
    """Return a value of an answer as a person reads it: "" for none, yes and no, lists with commas."""
    if isinstance(value, list):
        return ", ".join(map(as_text, value))
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def duration_text(seconds: object) -> str:
    """Return whole seconds as `3d 4h`, `2h 5m`, `7m 3s` or `12s`: the two largest units."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return ""
    rest, parts = int(seconds), list[str]()
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def size_text(size: object) -> str:
    """Return bytes as `512K`, `1.5M` or `12.3G`, to three figures; a power of 1024 a unit."""
    if isinstance(size, bool) or not isinstance(size, int | float):
        return ""
    amount, unit = float(size), ""
    for unit in ("", "K", "M", "G", "T"):  # noqa: B007 - the last one reached is wanted
        if amount < 1000:
            break
        amount /= 1024
    return f"{amount:.3g}{unit}"


def cpu_text(seconds: object) -> str:
    """Return processor time: `0.31s` when it is short, else as any duration."""
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds < 10:
        return f"{seconds:.2f}s"
    return duration_text(seconds)


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[str]], out: TextIO) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow to load, and wanted on terminals only
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(cell or "-", style=COLOURS.get(cell, "")) for cell in row))
    Console(file=out).print(table)
