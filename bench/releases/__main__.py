"""`python -m bench.releases`: a large deploy, updates and rollbacks under load, many deploys at once."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.children import BenchError, free_port, running
from bench.machine import raise_descriptors
from bench.ours import Management, environment, write_config
from bench.releases.measures import deploy_large, deploy_many, update_under_load
from bench.table import Figures, write

if TYPE_CHECKING:
    from bench.figures import Sample

RESULTS = Path(__file__).parents[1] / "results"
TITLES = {
    "seconds": "s",
    "tar": "s, `tar xzf` of the same",
    "memory": "peak above rest, MiB",
    "requests": "requests",
    "lost": "lost",
    "streams": "streams ended",
    "cut": "cut",
    "quiet": "p99 ms, quiet",
    "switching": "p99 ms, while switching",
    "each": "s an update or rollback",
}
READING = "Updates and rollbacks alternate under the load; a stream without its last event counts as cut."
OURS = "muxi"


def main() -> int:
    """Run from the command line; 1 if nothing could be measured."""
    if sys.platform != "linux":
        print("The benchmarks need Linux: they read /proc.", file=sys.stderr)
        return 1
    raise_descriptors()
    options = _parser().parse_args()
    figures = Figures()
    try:
        with tempfile.TemporaryDirectory(prefix="muxi-bench-") as directory:
            _measure(Path(directory), options, figures)
    except (BenchError, OSError) as error:
        print(f"Nothing more was measured: {error}.", file=sys.stderr)
    if not figures.samples:
        return 1
    write("releases", READING, TITLES, figures, options.output)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("bench.releases", description=__doc__)
    parser.add_argument("--large", type=int, default=3, help="how many large deploys")
    parser.add_argument("--rate", type=float, default=500, help="requests a second")
    parser.add_argument("--streams", type=int, default=100, help="open streams")
    parser.add_argument("--turns", type=int, default=20, help="updates, each with a rollback")
    parser.add_argument("--many", type=int, default=50, help="formations deployed at once")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the directory of the results")
    return parser


def _measure(directory: Path, options: argparse.Namespace, figures: Figures) -> None:
    port = free_port()
    write_config(directory, port, "  drain_timeout: 30s")
    argv = (sys.executable, "-m", "muxi", "start")
    everywhere = frozenset(range(1024))
    with running(
        "muxi", argv, port=port, directory=directory, cores=everywhere, env=environment(directory)
    ) as pid:
        server = Management(port)
        if options.large:
            samples = [deploy_large(server, pid, number) for number in range(options.large)]
            _add(figures, "deploy of 100 MiB in 5,000 files", _median(samples))
        if options.many:
            _add(figures, f"{options.many} deploys at once", deploy_many(server, options.many))
        if options.turns:
            sample = update_under_load(server, options.rate, options.streams, options.turns)
            _add(figures, f"{options.turns} updates and rollbacks under load", sample)


def _median(samples: list[Sample]) -> Sample:
    return {key: statistics.median(sample[key] for sample in samples) for key in samples[0]}


def _add(figures: Figures, row: str, sample: Sample) -> None:
    figures.add(row, OURS, sample)
    shown = ", ".join(f"{key} {value:.2f}" for key, value in sample.items())
    print(f"{row}: {shown}", file=sys.stderr, flush=True)


sys.exit(main())
