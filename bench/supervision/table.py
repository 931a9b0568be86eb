"""The written result: a table a measure, a line a manager. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.figures import Sample

TITLES = {
    "whole": "ms, whole",
    "added": "ms, less own start and delay",
    "worst": "worst of these",
    "seconds": "s until the last answers",
    "memory": "resident MiB",
    "cpu": "% of a core",
    "list": "ms, list of all",
}
READING = """\
Revival: a service is killed by SIGKILL, and asked every millisecond until another process answers (ours \
through the proxy, which holds the request; the others on the service's own port); medians. At rest ours \
checks each service's health every 30 s, the others check nothing."""


@dataclass(slots=True)
class Figures:
    """The samples by row and manager, and why a manager has none."""

    samples: dict[str, dict[str, Sample]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, row: str, manager: str, sample: Sample) -> None:
        self.samples.setdefault(row, {})[manager] = sample

    def excuse(self, manager: str, reason: str) -> None:
        self.missing[manager] = reason


def markdown(date: str, facts: Mapping[str, str], figures: Figures) -> str:
    """Write it for people."""
    parts = [f"# Supervision, measured on {date}", "\n".join(f"- {key}: {is_}" for key, is_ in facts.items())]
    parts.append(READING)
    for row, by_manager in figures.samples.items():
        parts += [f"## {row}", _table(by_manager, figures.missing)]
    return "\n\n".join(parts) + "\n"


def _table(by_manager: Mapping[str, Sample], missing: Mapping[str, str]) -> str:
    keys = list(dict.fromkeys(key for sample in by_manager.values() for key in sample))
    lines = [_line(["", *(TITLES[key] for key in keys)]), _line(["---", *("---:" for _ in keys)])]
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
