"""`python -m bench.supervision`: our server as a manager of processes, beside supervisord and PM2."""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.children import BenchError
from bench.machine import raise_descriptors
from bench.peers.peer import Missing
from bench.supervision.managers import muxi, pm2, supervisord
from bench.supervision.measures import rest, restore, revive
from bench.table import Figures, write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.supervision.managers.manager import Manager

RESULTS = Path(__file__).parents[1] / "results"
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
MANAGERS: Mapping[str, Manager] = {
    "muxi": muxi.start,
    "supervisord": supervisord.start,
    "pm2": pm2.start,
}


def main() -> int:
    """Run from the command line; 1 if nothing could be measured."""
    if sys.platform != "linux":
        print("The benchmarks need Linux: they read /proc.", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    raise_descriptors()
    options = _parser().parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="muxi-bench-") as directory:
        for name, manager in MANAGERS.items():
            if not options.manager or name in options.manager:
                _measure(name, manager, Path(directory), options, figures)
    if not figures.samples:
        print("Nothing was measured.", file=sys.stderr)
        return 1
    write("supervision", READING, TITLES, figures, options.output)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("bench.supervision", description=__doc__)
    parser.add_argument(
        "--manager", action="append", choices=MANAGERS, help="only this one (may be repeated)"
    )
    parser.add_argument("--kills", type=int, default=15, help="how many services are killed")
    parser.add_argument("--restored", type=int, default=100, help="how many services are brought back")
    parser.add_argument("--rest", type=int, nargs="*", default=[0, 100, 500], help="services at rest")
    parser.add_argument("--seconds", type=float, default=40.0, help="how long rest is watched")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the directory of the results")
    return parser


def _measure(
    name: str, manager: Manager, directory: Path, options: argparse.Namespace, figures: Figures
) -> None:
    try:
        _revive(name, manager, directory / f"{name}-revive", options.kills, figures)
        _restore(name, manager, directory / f"{name}-restore", options.restored, figures)
        for count in options.rest:
            with manager(_made(directory / f"{name}-rest-{count}"), count) as managed:
                _add(figures, f"at rest with {count}", name, **rest(managed, options.seconds))
    except (BenchError, Missing, OSError) as error:
        figures.excuse(name, str(error))
        print(f"  {name}: {error}", file=sys.stderr, flush=True)


def _revive(name: str, manager: Manager, directory: Path, kills: int, figures: Figures) -> None:
    # Each service is killed once: a restart that follows another is put off by some managers, ours too.
    with manager(_made(directory), kills) as managed:
        samples = [revive(door, managed.delay) for door in managed.doors]
    middle = {key: statistics.median(sample[key] for sample in samples) for key in samples[0]}
    worst = max(sample["added"] for sample in samples)
    _add(figures, "revival", name, **middle, worst=worst)


def _restore(name: str, manager: Manager, directory: Path, count: int, figures: Figures) -> None:
    with manager(_made(directory), count):
        pass
    _add(figures, f"bringing back {count}", name, **restore(manager, directory, count))


def _add(figures: Figures, row: str, name: str, **sample: float) -> None:
    figures.add(row, name, sample)
    shown = ", ".join(f"{key} {value:.1f}" for key, value in sample.items())
    print(f"{row}, {name}: {shown}", file=sys.stderr, flush=True)


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


sys.exit(main())
