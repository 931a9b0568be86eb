"""The written result: tables of medians and ratios, and what of our goals is reached. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.reach import GO, NGINX, OURS, Goal, goals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.cases.case import Case
    from bench.figures import Figures, Metric
    from bench.plan import Plan

NOTHING = "-"
READING = """\
A ratio is the median of the rounds' ratios. Unless more are named above, every proxy has one thread \
(Go programs: GOMAXPROCS=1). \
The load and the services take their share of the cores named above: `direct` is the ceiling for rates, \
and where they share the proxy's core, compare proxies by their CPU: rates make them look more alike."""


@dataclass(frozen=True, slots=True)
class Result:
    """A whole run."""

    date: str
    facts: Mapping[str, str]
    plan: Plan
    cases: Sequence[Case]
    peers: Sequence[str]
    figures: Mapping[str, Figures]


def markdown(result: Result) -> str:
    """Write it for people."""
    parts = [f"# Measured on {result.date}", _facts(result), _reach(result)]
    seen: set[str] = set()
    for case in result.cases:
        if case.name not in seen:
            seen.add(case.name)
            parts.append(_section(case, result))
    return "\n\n".join(parts) + "\n"


def document(result: Result) -> dict[str, object]:
    """Write it for programs: every sample of every round, and the verdicts."""
    return {
        "date": result.date,
        "facts": dict(result.facts),
        "rounds": result.plan.rounds,
        "reach": [
            {"goal": str(goal), "measured": goal.measured(found), "verdict": goal.verdict(found)}
            for goal, found in _chosen(result)
        ],
        "samples": [
            {"case": name, "row": row, "peer": peer, "round": turn, **sample}
            for name, found in result.figures.items()
            for (row, peer), rounds in found.samples.items()
            for turn, sample in sorted(rounds.items())
        ],
        "missing": [
            {"case": name, "peer": peer, "reason": reason}
            for found in result.figures.values()
            for (name, peer), reason in found.missing.items()
        ],
    }


def file_name(date: str, facts: Mapping[str, str]) -> str:
    """Name the result by its day and machine."""
    machine = re.sub(r"[^a-z0-9]+", "-", f"{facts['system']} python {facts['python'].split()[-1]}".lower())
    return f"{date.replace(':', '').replace(' ', 'T')}-{machine.strip('-')}"


def table(case: Case, row: str, figures: Figures, peers: Sequence[str]) -> str:
    """Write one row name's figures: a line a peer, then our ratios to Go and nginx."""
    lines = [_line(["", *(title for metric in case.metrics for title in _titles(metric))])]
    lines.append(_line(["---", *("---:" for metric in case.metrics for _ in _titles(metric))]))
    for peer in peers:
        cells = [cell for metric in case.metrics for cell in _cells(figures, row, peer, metric)]
        excuse = figures.missing.get((case.name, peer))
        if excuse is not None and figures.lacking(row, peer):
            cells[0] = f"{cells[0]} ({_one_line(excuse)})" if cells[0] != NOTHING else _one_line(excuse)
        lines.append(_line([peer, *cells]))
    lines += [
        _line([f"{OURS} ÷ {other}", *_ratio_cells(case, figures, row, other)])
        for other in (GO, NGINX)
        if OURS in peers and other in peers
    ]
    return "\n".join(lines)


def verdicts(pairs: Sequence[tuple[Goal, Figures]]) -> str:
    """Write the goals with what was measured."""
    lines = [_line(["goal", "measured", ""]), _line(["---", "---:", "---"])]
    for goal, found in pairs:
        verdict = goal.verdict(found)
        shown = f"**{verdict}**" if verdict == "not reached" else verdict
        lines.append(_line([str(goal), _number(goal.measured(found), 2), shown]))
    return "\n".join(lines)


def _facts(result: Result) -> str:
    facts = "\n".join(f"- {name}: {value}" for name, value in result.facts.items())
    return f"{facts}\n\nMedians of {result.plan.rounds} interleaved rounds.\n{READING}"


def _reach(result: Result) -> str:
    pairs = _chosen(result)
    return "## Reach\n\n" + (verdicts(pairs) if pairs else "No case was run for which there is a goal.")


def _chosen(result: Result) -> list[tuple[Goal, Figures]]:
    by_row = {row: found for found in result.figures.values() for row in found.rows()}
    return [(goal, by_row[goal.row]) for goal in goals() if goal.row in by_row]


def _section(case: Case, result: Result) -> str:
    found = result.figures[case.name]
    abouts = dict.fromkeys(other.about for other in result.cases if other.name == case.name)
    parts = [f"## {case.name}", "; ".join(abouts) + "."]
    for row in found.rows() or [case.name]:
        parts += [f"### {row}", table(case, row, found, result.peers)]
    return "\n\n".join(parts)


def _titles(metric: Metric) -> list[str]:
    return [metric.title, "added"] if metric.added else [metric.title]


def _cells(figures: Figures, row: str, peer: str, metric: Metric) -> list[str]:
    cells = [_number(figures.value(row, peer, metric), metric.digits)]
    if metric.added:
        cells.append(_number(figures.difference(row, peer, "direct", metric.key), metric.digits))
    return cells


def _ratio_cells(case: Case, figures: Figures, row: str, other: str) -> list[str]:
    cells: list[str] = []
    for metric in case.metrics:
        cells.append(_number(figures.ratio(row, OURS, other, metric.key), 2))
        if metric.added:
            cells.append("")
    return cells


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _one_line(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:120]
