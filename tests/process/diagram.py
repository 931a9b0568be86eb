"""The lifecycle table as a diagram: `python -m tests.process.diagram` writes it into the docs."""

from __future__ import annotations

from pathlib import Path

from muxi.process.lifecycle import TRANSITIONS, State

PAGE = Path(__file__).parents[2] / "contributing" / "lifecycle.md"
BEGIN, END = "```mermaid\n", "```\n"


def diagram() -> str:
    """Return the table in Mermaid's language, events that lead the same way on one arrow."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for (state, event), after in TRANSITIONS.items():
        arrows.setdefault((state, after), []).append(str(event))
    lines = [f"    {state} --> {after}: {', '.join(events)}" for (state, after), events in arrows.items()]
    return "\n".join(["stateDiagram-v2", "    direction LR", f"    [*] --> {State.STOPPED}", *lines, ""])


def with_diagram(page: str) -> str:
    """Return the page with its diagram replaced by the one of the table."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no place for the diagram")
    return f"{before}{BEGIN}{diagram()}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_diagram(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
