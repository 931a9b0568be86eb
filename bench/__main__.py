"""`python -m bench`: measures our server beside its peers and writes bench/results/."""

from __future__ import annotations

import argparse
import functools
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import machine
from bench.cases.catalogue import catalogue
from bench.children import BenchError
from bench.peers.peer import Missing
from bench.plan import FULL, QUICK
from bench.report import Result, document, file_name, markdown
from bench.rounds import measure
from bench.stage import PEERS, stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.cases.case import Case
    from bench.machine import Placing
    from bench.plan import Plan

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run from the command line; 1 if nothing could be measured."""
    if sys.platform != "linux":
        print("The benchmarks need Linux: they read /proc and pin processes to cores.", file=sys.stderr)
        return 1
    # As an exit, so that what has been started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    descriptors = machine.raise_descriptors()
    cases = catalogue(machine.most_streams(descriptors))
    options = _parser(cases).parse_args()
    chosen = [case for case in cases if not options.case or case.name in options.case]
    peers = [name for name in PEERS if not options.peer or name in options.peer]
    try:
        plan = QUICK if options.quick else FULL
        result = _run(chosen, peers, descriptors, plan, options.cores, workers=options.workers)
    except (BenchError, Missing) as error:
        print(f"Nothing was measured: {error}.", file=sys.stderr)
        return 1
    _write(result, options.output)
    return 0


def _parser(cases: Sequence[Case]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("bench", description=__doc__)
    names = list(dict.fromkeys(case.name for case in cases))
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: under two minutes")
    parser.add_argument("--case", action="append", choices=names, help="only this case (may be repeated)")
    parser.add_argument("--peer", action="append", choices=PEERS, help="only this peer (may be repeated)")
    parser.add_argument("--cores", choices=machine.PLACINGS, default="auto", help="where all of it runs")
    parser.add_argument("--workers", type=int, default=1, help="processes or threads of every proxy")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the directory of the results")
    return parser


def _run(
    cases: Sequence[Case],
    peers: Sequence[str],
    descriptors: int,
    plan: Plan,
    placing: Placing,
    *,
    workers: int,
) -> Result:
    available = os.sched_getaffinity(0)
    if workers > 1 and placing == "auto":
        placing = "free"  # On one core there would be nothing to gain.
    wake = machine.wake_seconds(available)
    cores = machine.divide_cores(available, placing, wake)
    # Streams and large bodies ask for work done, not for quick turns: they get all cores.
    roomy = machine.divide_cores(available, "apart" if placing == "auto" else placing, wake)
    facts = machine.facts(cores, roomy, descriptors, wake)
    facts["processes or threads of each proxy"] = str(workers)
    ticks, stolen = machine.processor_times()
    date = time.strftime("%Y-%m-%d %H:%M")
    with tempfile.TemporaryDirectory(prefix="muxi-bench-") as directory:
        set_up = functools.partial(
            stage,
            peers,
            directory=Path(directory),
            descriptors=descriptors,
            bulk=plan.bulk,
            workers=workers,
        )
        figures = measure(
            cases,
            plan,
            shared=functools.partial(set_up, cores=cores),
            fresh=functools.partial(set_up, cores=roomy),
        )
    ticks_after, stolen_after = machine.processor_times()
    facts["stolen by the host"] = (
        f"{(stolen_after - stolen) / (ticks_after - ticks):.1%} of the processor time"
    )
    facts["load after"] = " ".join(f"{load:.2f}" for load in os.getloadavg())
    return Result(date, facts, plan, cases, peers, figures)


def _write(result: Result, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    text = markdown(result)
    path = directory / f"{file_name(result.date, result.facts)}.md"
    path.write_text(text)
    path.with_suffix(".json").write_text(json.dumps(document(result), indent=1, ensure_ascii=False) + "\n")
    print(text)
    print(f"Written to {path} and .json", file=sys.stderr)


sys.exit(main())
