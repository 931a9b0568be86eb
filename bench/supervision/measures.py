"""What is measured of a manager: revival, restoring, and what it costs when nothing happens."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import time
from typing import TYPE_CHECKING

from bench.peers.peer import HOST, Door
from bench.supervision.asking import all_answer, next_pid
from bench.supervision.managers.manager import COMMAND, FIRST_PORT
from bench.usage import cpu_seconds, resident

if TYPE_CHECKING:
    from pathlib import Path

    from bench.figures import Sample
    from bench.supervision.managers.manager import Managed, Manager

#: Before a kill: what ends sooner after its start some managers take for one that can't start.
CALM = 1.5
SETTLE = 5.0
LISTINGS = 20


def own_start() -> float:
    """Measure the seconds from the service's start to its first answer, with no manager at all."""
    door = Door(FIRST_PORT + 9_000)
    began = time.perf_counter()
    with subprocess.Popen(
        COMMAND, env={"HOST": HOST, "PORT": str(door.port)}, stdin=subprocess.DEVNULL
    ) as process:
        try:
            next_pid(door)
            return time.perf_counter() - began
        finally:
            process.kill()


def revive(door: Door, delay: float) -> Sample:
    """Kill a service; measure the ms until another process answers.

    `added` is what is left without the service's own start and the configured delay (in seconds).
    """
    pid = next_pid(door)
    time.sleep(CALM)
    began = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    next_pid(door, pid)
    whole = time.perf_counter() - began
    return {"whole": whole * 1e3, "added": (whole - own_start() - delay) * 1e3}


def rest(managed: Managed, seconds: float) -> Sample:
    """Measure the manager's memory, and the processor time it takes with nothing to do."""
    all_answer(managed.doors)
    time.sleep(SETTLE)
    before, began = cpu_seconds(managed.pids), time.perf_counter()
    time.sleep(seconds)
    spent = (cpu_seconds(managed.pids) - before) / (time.perf_counter() - began)
    return {"memory": resident(managed.pids) / (1 << 20), "cpu": spent * 100, **_listing(managed)}


def _listing(managed: Managed) -> Sample:
    if managed.listing is None:
        return {}
    times = []
    for _ in range(LISTINGS):
        began = time.perf_counter()
        managed.listing()
        times.append((time.perf_counter() - began) * 1e3)
    return {"list": statistics.median(times)}


def restore(manager: Manager, directory: Path, count: int) -> Sample:
    """Measure from the manager's start to the last service's first answer, on a directory with them."""
    began = time.perf_counter()
    with manager(directory, count) as managed:
        all_answer(managed.doors)
        return {"seconds": time.perf_counter() - began}
