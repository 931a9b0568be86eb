"""`python -m bench.binary`: the built binary beside the checkout: start, memory, size, requests."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.binary.measures import SOURCE, serve, start_seconds, version_seconds
from bench.children import BenchError
from bench.table import Figures, markdown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RESULTS = Path(__file__).parents[1] / "results"
TITLES = {
    "cold": "ms, `version`, cold",
    "warm": "ms, `version`, warm",
    "start": "ms, `start` to the first /ping",
    "memory": "resident MiB, at rest",
    "loaded": "resident MiB, after the load",
    "size": "MiB on disk",
    "ping": "/ping, requests/s",
    "proxied": "proxied, requests/s",
    "cpu": "CPU µs a proxied request",
}
READING = """\
Medians; the two take turns in each round. Cold: the program's pages are dropped first, \
those of the interpreter's libraries are not. The size of the checkout is not comparable."""


def main() -> int:
    """Run from the command line; 1 if nothing could be measured."""
    if sys.platform != "linux":
        print("The benchmarks need Linux: they read /proc.", file=sys.stderr)
        return 1
    options = _parser().parse_args()
    programs = {"binary": (str(options.binary.absolute()),), "checkout": SOURCE}
    try:
        figures = _measure(programs, options)
    except (BenchError, OSError, subprocess.SubprocessError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    _write(figures, options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("bench.binary", description=__doc__)
    parser.add_argument("--binary", type=Path, default=Path("dist/muxi-server"))
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--seconds", type=int, default=4, help="how long each load is kept up")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the directory of the results")
    return parser


def _measure(programs: Mapping[str, Sequence[str]], options: argparse.Namespace) -> Figures:
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
    for number in range(options.rounds):
        for name, program in programs.items():
            with tempfile.TemporaryDirectory(prefix="muxi-bench-") as directory:
                sample = {
                    "cold": version_seconds(program, cold=True) * 1e3,
                    "warm": statistics.median(version_seconds(program) for _ in range(5)) * 1e3,
                    "start": start_seconds(program, Path(directory)) * 1e3,
                    **serve(program, Path(directory), options.seconds),
                }
            samples[name].append(sample)
            shown = ", ".join(f"{key} {value:.1f}" for key, value in sample.items())
            print(f"round {number + 1}, {name}: {shown}", file=sys.stderr, flush=True)
    figures = Figures()
    for name, found in samples.items():
        middle = {key: statistics.median(sample[key] for sample in found) for key in found[0]}
        figures.add("the server", name, middle)
    figures.samples["the server"]["binary"]["size"] = options.binary.stat().st_size / 2**20
    return figures


def _write(figures: Figures, options: argparse.Namespace) -> None:
    date = time.strftime("%Y-%m-%d %H:%M")
    version = subprocess.run(
        [options.binary.absolute(), "version", "--json"], stdout=subprocess.PIPE, check=True
    )
    facts = {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": str(len(os.sched_getaffinity(0))),
        "checkout's python": platform.python_version(),
        "binary": version.stdout.decode().strip(),
        "load after": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }
    text = markdown(f"The binary, measured on {date}", facts, READING, TITLES, figures)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"{date.replace(':', '').replace(' ', 'T')}-binary.md"
    path.write_text(text)
    print(text)
    print(f"Written to {path}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
