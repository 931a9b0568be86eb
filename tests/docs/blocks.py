"""The blocks of code in the pages, and what the comment before one says is to be done with it.

`<!-- run: STAGE -->` right before a block: it is run on that stage (`tests.docs.stages`), after the
page's earlier blocks in the same shell. With `, exit N` its last command must fail so; with
`, background` it goes on while the page's later blocks are run. A block without one is checked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.live import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHELLS: Final = frozenset({"sh", "bash", "shell", "console", "powershell"})
PLACES: Final = ("*.md", "docs/*.md", "contributing/*.md", "examples/*.md", "bench/*.md")
#: Made of news fragments, which are prose.
LEFT_OUT: Final = frozenset({"CHANGELOG.md"})
_FENCE: Final = re.compile(r"(?P<indent> *)(?P<fence>```+)(?P<language>[\w-]*)[^`]*")
_MARK: Final = re.compile(
    r"\s*<!-- run: (?P<stage>\w+)(?:, exit (?P<status>\d+))?(?P<background>, background)? -->"
)


@dataclass(frozen=True, slots=True)
class Mark:
    """What a comment asks for: a stage, the exit status that is right, and whether it goes on."""

    stage: str
    status: int = 0
    background: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code; `line` is that of its fence."""

    page: str
    line: int
    language: str
    text: str
    mark: Mark | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Return every page whose commands are tested."""
    found = {path for place in PLACES for path in ROOT.glob(place)}
    return sorted(path for path in found if path.name not in LEFT_OUT)


def all_blocks() -> list[Block]:
    return [
        block
        for page in pages()
        for block in blocks(page.relative_to(ROOT).as_posix(), page.read_text("utf-8"))
    ]


def shell_blocks() -> list[Block]:
    return [block for block in all_blocks() if block.language in SHELLS]


def of_stage(stage: str) -> dict[str, list[Block]]:
    """Return the blocks that are run on a stage, by their page."""
    found: dict[str, list[Block]] = {}
    for block in shell_blocks():
        if block.mark is not None and block.mark.stage == stage:
            found.setdefault(block.page, []).append(block)
    return found


def blocks(page: str, text: str) -> Iterator[Block]:
    """Yield the blocks of a page's text. Pure. Raises ValueError for a fence that is not closed."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        fence = _FENCE.fullmatch(lines[at])
        if fence is None:
            at += 1
            continue
        closing = fence["indent"] + fence["fence"]
        try:
            end = lines.index(closing, at + 1)
        except ValueError:
            raise ValueError(f"{page}:{at + 1}: this block has no end") from None
        content = "\n".join(line.removeprefix(fence["indent"]) for line in lines[at + 1 : end])
        yield Block(page, at + 1, fence["language"], content, _mark(lines[at - 1] if at else ""))
        at = end + 1


def _mark(line: str) -> Mark | None:
    found = _MARK.fullmatch(line)
    if found is None:
        assert "<!-- run" not in line, f"this mark can't be read: {line}"
        return None
    return Mark(found["stage"], int(found["status"] or 0), bool(found["background"]))
