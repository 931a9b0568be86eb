"""The few forms of Markdown that the references are made of. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table; nothing for one without rows."""
    made = [_row(row) for row in rows]
    if made:
        yield from ("", _row(heads), _row(["---"] * len(heads)), *made)


def code(text: str) -> str:
    """Write a text as code; nothing stays nothing."""
    return f"`{text}`" if text else ""


def shell(lines: Iterable[str], *, run: str = "") -> Iterator[str]:
    """Yield a block of commands; `run` is what tests/docs does with it, which no reader sees."""
    yield ""
    if run:
        yield f"<!-- {run} -->"
    yield from ("```sh", *lines, "```")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
