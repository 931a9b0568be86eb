"""The written result: a table a measure, a line a manager."""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.figures import Sample


@dataclass(slots=True)
class Figures:
    """The samples by row and manager, and why a manager has none."""

    samples: dict[str, dict[str, Sample]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, row: str, manager: str, sample: Sample) -> None:
        self.samples.setdefault(row, {})[manager] = sample

    def excuse(self, manager: str, reason: str) -> None:
        self.missing[manager] = reason


def write(subject: str, reading: str, titles: Mapping[str, str], figures: Figures, directory: Path) -> None:
    """Write what was measured, here and now, to a file of its own, and show it."""
    date, python = time.strftime("%Y-%m-%d %H:%M"), platform.python_version()
    facts = {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": str(len(os.sched_getaffinity(0))),
        "python": python,
        "load after": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }
    text = markdown(f"{subject.capitalize()}, measured on {date}", facts, reading, titles, figures)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{date.replace(':', '').replace(' ', 'T')}-{subject}-python-{python}.md"
    path.write_text(text)
    print(text)
    print(f"Written to {path}", file=sys.stderr)


def markdown(
    title: str, facts: Mapping[str, str], reading: str, titles: Mapping[str, str], figures: Figures
) -> str:
    """Write it for people. `titles` are the columns' headings, by the samples' keys."""
    parts = [f"# {title}", "\n".join(f"- {key}: {is_}" for key, is_ in facts.items()), reading]
    for row, by_manager in figures.samples.items():
        parts += [f"## {row}", _table(by_manager, figures.missing, titles)]
    return "\n\n".join(parts) + "\n"


def _table(by_manager: Mapping[str, Sample], missing: Mapping[str, str], titles: Mapping[str, str]) -> str:
    keys = list(dict.fromkeys(key for sample in by_manager.values() for key in sample))
    lines = [_line(["", *(titles[key] for key in keys)]), _line(["---", *("---:" for _ in keys)])]
    lines += [
        _line([name, *(_number(sample.get(key)) for key in keys)]) for name, sample in by_manager.items()
    ]
    lines += [
        _line([name, why, *("-" for _ in keys[1:])])
        for name, why in missing.items()
        if name not in by_manager
    ]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
