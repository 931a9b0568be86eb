"""What is measured of a program, and how: how soon it is there, what it takes, what it does."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import httpx

from bench.cases.requests import Requests
from bench.cases.streams import Streams
from bench.children import BenchError
from bench.peers.peer import HOST
from bench.usage import resident

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.figures import Sample
    from bench.peers.peer import Peer
    from bench.plan import Plan

CONNECTIONS = 32
START_SECONDS = 60.0
STEP_SECONDS = 0.002


def version_seconds(program: Sequence[str], *, cold: bool = False) -> float:
    """Say how long `version` takes, from start to end."""
    if cold:
        _forget(program[0])
    began = time.perf_counter()
    subprocess.run([*program, "version"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def start_seconds(argv: Sequence[str], port: int, path: str, env: Mapping[str, str]) -> float:
    """Say how long it takes from the start of a server to its first good answer. Raises BenchError."""
    began = time.perf_counter()
    process = subprocess.Popen(
        argv, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with httpx.Client(trust_env=False, verify=False) as client:
            while time.perf_counter() - began < START_SECONDS:
                try:
                    if client.get(f"http://{HOST}:{port}{path}").is_success:
                        return time.perf_counter() - began
                except httpx.TransportError:
                    pass
                time.sleep(STEP_SECONDS)
    finally:
        process.terminate()
        process.wait()
    raise BenchError(f"{argv[0]} does not answer")


def under_load(peer: Peer, plan: Plan, *, most_streams: int) -> dict[str, float]:
    """Measure its memory, what requests and streams through it take. Raises BenchError, Missing, OSError."""
    at_rest = resident(peer.pids)
    requests = _only(Requests(CONNECTIONS), peer, plan)
    loaded = resident(peer.pids)
    streams = _only(Streams(most_streams), peer, plan)
    return {
        "memory": at_rest / 2**20,
        "loaded": loaded / 2**20,
        "rate": requests["rate"],
        "cpu": requests["cpu"],
        "stream": streams["memory"],
        "event": streams["cpu"],
    }


def _only(case: Requests | Streams, peer: Peer, plan: Plan) -> Sample:
    ((_, sample),) = case.measure(peer, plan)
    return sample


def _forget(path: str) -> None:
    """Have the kernel drop a file's pages from memory."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
