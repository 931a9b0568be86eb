"""Many small requests at once, by wrk."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from bench.children import BenchError
from bench.machine import find_program
from bench.peers.peer import Missing

if TYPE_CHECKING:
    from bench.peers.peer import Door

SCRIPT = Path(__file__).parent / "requests.lua"
PATH = "/small"
#: Seconds that wrk may take beyond its measuring.
SLACK = 20.0
FAILURES = ("connect", "read", "write", "status", "timeout")


def run(door: Door, *, connections: int, seconds: int, close: bool = False) -> dict[str, float]:
    """Send for so long; gives `rate` (requests a second), `count`, `p50` and `p99` (µs).

    Raises Missing, and BenchError if a request failed.
    """
    program = find_program("wrk")
    if program is None:
        raise Missing("wrk is not installed")
    mode = "close" if close else "keep"
    argv = (
        program,
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "-s",
        str(SCRIPT),
        door.url(PATH),
        "--",
        mode,
    )
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + SLACK, check=False)
    if done.returncode:
        raise BenchError(f"wrk ended with {done.returncode}: {done.stderr.strip()}")
    return read_result(done.stdout)


def read_result(output: str) -> dict[str, float]:
    """Read what the script has printed at the end. Raises BenchError."""
    found: dict[str, int] = json.loads(output.strip().splitlines()[-1])
    failures = {kind: found[kind] for kind in FAILURES if found[kind]}
    if failures or not found["requests"]:
        raise BenchError(f"of {found['requests']} requests some failed: {failures}")
    return {
        "rate": found["requests"] / found["duration"] * 1e6,
        "count": found["requests"],
        "p50": found["p50"],
        "p99": found["p99"],
    }
