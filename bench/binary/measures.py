"""What is measured of a program that is our server, and how."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx

from bench.children import BenchError, free_port, running
from bench.machine import find_program
from bench.ours import Management, environment, write_config
from bench.supervision.managers.manager import COMMAND
from bench.usage import cpu_seconds, resident

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SOURCE = (sys.executable, "-m", "muxi")
CONNECTIONS = 32
START_SECONDS = 60.0
EVERYWHERE = frozenset(range(1024))
_RATE = re.compile(r"Requests/sec:\s*([0-9.]+)")
_COUNT = re.compile(r"(\d+) requests in")
_FAILED = re.compile(r"(Non-2xx.*|Socket errors.*)")


def version_seconds(program: Sequence[str], *, cold: bool = False) -> float:
    """Say how long `version` takes, from start to end."""
    if cold:
        _forget(program[0])
    began = time.perf_counter()
    subprocess.run([*program, "version"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def start_seconds(program: Sequence[str], directory: Path) -> float:
    """Say how long it takes from the start of a new server to its first answer."""
    port = free_port()
    if not (directory / "config").exists():
        write_config(directory, port)
    began = time.perf_counter()
    process = subprocess.Popen(
        [*program, "start", "--port", str(port)],
        env={**os.environ, **environment(directory)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(trust_env=False, verify=False) as client:
            while time.perf_counter() - began < START_SECONDS:
                try:
                    if client.get(f"http://127.0.0.1:{port}/ping").status_code == 200:
                        return time.perf_counter() - began
                except httpx.TransportError:
                    time.sleep(0.002)
    finally:
        process.terminate()
        process.wait()
    raise BenchError(f"{program[0]} does not answer")


def serve(program: Sequence[str], directory: Path, seconds: int) -> dict[str, float]:
    """Run a server under load: requests to itself, and through its proxy to a small service."""
    port = free_port()
    with running(
        "muxi",
        (*program, "start", "--port", str(port)),
        port=port,
        directory=directory,
        cores=EVERYWHERE,
        env=environment(directory),
    ) as pid:
        Management(port).deploy("small", {"command": list(COMMAND)}, {})
        at_rest = resident([pid]) / 2**20
        ping, _ = _load(f"http://127.0.0.1:{port}/ping", seconds)
        before = cpu_seconds([pid])
        proxied, count = _load(f"http://127.0.0.1:{port}/api/small/x", seconds)
        used = cpu_seconds([pid]) - before
        return {
            "memory": at_rest,
            "loaded": resident([pid]) / 2**20,
            "ping": ping,
            "proxied": proxied,
            "cpu": used / count * 1e6,
        }


def _load(url: str, seconds: int) -> tuple[float, int]:
    """Give requests a second, and how many there were. Raises BenchError if one failed."""
    wrk = find_program("wrk")
    if wrk is None:
        raise BenchError("wrk is not installed")
    done = subprocess.run(
        [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", url],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=seconds + 30,
    )
    rate, count = _RATE.search(done.stdout), _COUNT.search(done.stdout)
    if rate is None or count is None or _FAILED.search(done.stdout):
        raise BenchError(f"requests to {url} failed: {done.stdout}")
    return float(rate[1]), int(count[1])


def _forget(path: str) -> None:
    """Have the kernel drop a file's pages from memory."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
