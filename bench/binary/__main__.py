"""`python -m bench.binary`: the binary beside the checkout and a Go proxy: start, memory, size, requests."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench import machine
from bench.binary.contestants import Course, Go, Ours
from bench.children import BenchError
from bench.peers import go, muxi
from bench.peers.peer import Missing
from bench.plan import FULL
from bench.table import Figures, markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).parents[1] / "results"
TITLES = {
    "cold": "ms, `version`, cold",
    "warm": "ms, `version`, warm",
    "start": "ms, start to the first answer",
    "memory": "resident MiB, at rest",
    "loaded": "resident MiB, after requests",
    "size": "MiB on disk",
    "rate": "proxied, requests/s",
    "cpu": "CPU µs a request",
    "stream": "kB a stream",
    "event": "CPU µs an event",
}
READING = """\
Medians; they take turns in each round. Cold: the program's pages are dropped first, \
those of the interpreter's libraries are not. Ours is asked for `/ping` first, Go for a document behind it. \
Requests: 200 bytes, 32 connections. Streams: 1,000, with an event a second each."""


def main() -> int:
    """Run from the command line; 1 if nothing could be measured."""
    if sys.platform != "linux":
        print("The benchmarks need Linux: they read /proc.", file=sys.stderr)
        return 1
    options = _parser().parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="muxi-bench-go-") as directory:
            figures = _measure(_contestants(options.binary.absolute(), Path(directory)), options)
    except (BenchError, Missing, OSError, subprocess.SubprocessError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    _write(figures, options)
    return 0


def _contestants(binary: Path, directory: Path) -> list[Ours | Go]:
    found: list[Ours | Go] = [Ours("binary", (str(binary),)), Ours("checkout", muxi.CHECKOUT)]
    try:
        found.append(Go(go.build(directory / "go-proxy")))
    except Missing as error:
        print(f"Without Go: {error}", file=sys.stderr)
    return found


def _course(seconds: int) -> Course:
    available = os.sched_getaffinity(0)
    cores = machine.divide_cores(available, "auto", machine.wake_seconds(available))
    descriptors = machine.raise_descriptors()
    plan = replace(FULL, seconds=seconds, streams=(1_000,))
    return Course(cores, descriptors, machine.most_streams(descriptors), plan)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("bench.binary", description=__doc__)
    parser.add_argument("--binary", type=Path, default=Path("dist/muxi-server"))
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--seconds", type=int, default=4, help="how long each load is kept up")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the directory of the results")
    return parser


def _measure(contestants: Sequence[Ours | Go], options: argparse.Namespace) -> Figures:
    course = _course(options.seconds)
    samples: dict[str, list[dict[str, float]]] = {contestant.name: [] for contestant in contestants}
    for number in range(options.rounds):
        for contestant in contestants:
            sample = contestant.measure(course)
            samples[contestant.name].append(sample)
            shown = ", ".join(f"{key} {value:.1f}" for key, value in sample.items())
            print(f"round {number + 1}, {contestant.name}: {shown}", file=sys.stderr, flush=True)
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
