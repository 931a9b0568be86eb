"""Why a process did not come up, told to the person who deployed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxi.errors import FormationFailed
from muxi.process.output import tail

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.process.probe import ProbeResult
    from muxi.process.spec import ExitReport, ProcessSpec

STAGE = "health_check"
LOG_LINES = 20
_SUMMARY_LENGTH = 300
_LOG_BYTES = 256 * 1024


def go_duration(seconds: float) -> str:
    """Write seconds as Go does, which clients look for in messages: "30s", "5m0s", "1.5s"."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms" if seconds > 0 else "0s"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{round(rest, 3):g}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def log_tail(spec: ProcessSpec, starts: tuple[int, int]) -> list[str]:
    """Return the last lines of both outputs of this run, each marked with its stream. Blocks."""
    return _marked("stdout", spec.stdout, starts[0]) + _marked("stderr", spec.stderr, starts[1])


def _marked(stream: str, path: Path, start: int) -> list[str]:
    try:
        return [f"{stream}: {line}" for line in tail(path, LOG_LINES, max_bytes=_LOG_BYTES, start=start)]
    except OSError as error:  # what is lost is only the explanation
        return [f"{stream}: (can't be read: {error.strerror})"]


def crashed(report: ExitReport, probe: ProbeResult | None, lines: list[str]) -> FormationFailed:
    """Say that it ended before it was healthy, and its last words, if it had any."""
    words = (line.partition(": ")[2].strip() for line in reversed(lines))
    last = next(filter(None, words), "")[:_SUMMARY_LENGTH]
    how = f"{report.describe()}: {last}" if last else report.describe()
    return FormationFailed(
        f"Formation crashed during startup: {how}",
        stage=STAGE,
        cure="See what it said last, mend it, and deploy it again.",
        details=_details(report, probe, lines),
    )


def timed_out(
    limit: float, report: ExitReport, probe: ProbeResult | None, lines: list[str]
) -> FormationFailed:
    """Say that it ran for `limit` seconds, was never healthy, and was killed."""
    seen = probe.detail if probe is not None else "no check was answered"
    return FormationFailed(
        f"Formation failed health check after {go_duration(limit)}: {seen}",
        stage=STAGE,
        cure="It must listen on $HOST:$PORT and answer its health path with a 2xx; or give it more time.",
        details=_details(report, probe, lines),
    )


def hung(seconds: float, report: ExitReport, probe: ProbeResult | None, lines: list[str]) -> FormationFailed:
    """Say that it ran, gave no answer for so many seconds, and was ended."""
    seen = "" if probe is None else f" ({probe.detail})"
    return FormationFailed(
        f"Formation hung: no answer for {go_duration(round(seconds))}{seen}; it was ended",
        stage=STAGE,
        cure="See what it did last. If it only works for long, answer health checks from another thread, "
        "or raise `health: liveness:` in its manifest.",
        details=_details(report, probe, lines),
    )


def port_taken(port: int) -> FormationFailed:
    """Say that somebody else listens on the port that was meant for it."""
    return FormationFailed(
        f"Port {port} is in use by another program.",
        code="SpawnError",
        stage="spawning",
        cure="End that program, or choose another `formations.port_range`.",
    )


def died(report: ExitReport, probe: ProbeResult | None, lines: list[str]) -> FormationFailed:
    """Say that it ended by itself after it had been healthy."""
    return FormationFailed(
        f"Formation crashed: {report.describe()}", stage=STAGE, details=_details(report, probe, lines)
    )


def _details(report: ExitReport, probe: ProbeResult | None, lines: list[str]) -> dict[str, object]:
    how = {
        "status": report.status,
        "signal": report.signal_number,
        "expected": report.expected,
        "oom": report.oom,
        "at": report.at,
        "description": report.describe(),
    }
    return {"exit": how, "probe": None if probe is None else probe.detail, "log_tail": lines}
