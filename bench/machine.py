"""The machine: its cores, its limits, and what to write down about it."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import socket
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

#: `apart`: the proxies on the first core, all else on the others. `one`: everything on one core, where
#: waking another core is dear, as in many virtual machines. `free`: wherever the kernel puts it.
#: `auto`: apart, unless there is one core only or waking another is dear.
Placing = Literal["auto", "apart", "one", "free"]
PLACINGS: tuple[Placing, ...] = get_args(Placing)
#: Seconds for a byte to another core and back, beyond which waking it is dear.
DEAR_WAKE = 30e-6
WAKES = 1_000
#: Descriptors that a process needs beside those of its connections.
SPARE = 400
#: Descriptors that our server keeps back from clients, where it has many (`muxi.proxy.sockets`).
KEPT_BACK = 1024
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"

_VERSIONS = {
    "nginx": ("nginx", "-v"),
    "haproxy": ("haproxy", "-v"),
    "caddy": ("caddy", "version"),
    "go": ("go", "version"),
    "wrk": ("wrk", "-v"),
}


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores the proxies run on, and which the load and the services behind them."""

    proxy: frozenset[int]
    load: frozenset[int]

    def __str__(self) -> str:
        if self.proxy == self.load:
            return f"everything on {sorted(self.proxy)}"
        return f"proxy on {sorted(self.proxy)}, load and services on {sorted(self.load)}"


def divide_cores(available: set[int], placing: Placing, wake: float) -> Cores:
    """Choose the cores. There may be but one: then all share it. `wake` is what `wake_seconds` gives."""
    first, *others = sorted(available)
    if placing == "free":
        return Cores(frozenset(available), frozenset(available))
    if placing == "one" or (placing == "auto" and wake > DEAR_WAKE):
        return Cores(frozenset({first}), frozenset({first}))
    return Cores(frozenset({first}), frozenset(others or {first}))


def wake_seconds(available: set[int]) -> float:
    """Measure how long a byte takes to another core and back, each end asleep until it comes."""
    cores = sorted(available)
    here, there = socket.socketpair()
    with here, there:
        echo = threading.Thread(target=_echo, args=(there, cores[-1]), daemon=True)
        echo.start()
        os.sched_setaffinity(0, {cores[0]})
        try:
            times: list[float] = []
            for _ in range(WAKES):
                began = time.perf_counter()
                here.send(b"x")
                here.recv(1)
                times.append(time.perf_counter() - began)
            return statistics.median(times)
        finally:
            os.sched_setaffinity(0, available)
            here.shutdown(socket.SHUT_RDWR)
            echo.join()


def _echo(sock: socket.socket, core: int) -> None:
    os.sched_setaffinity(0, {core})
    while data := sock.recv(1):
        sock.send(data)


def find_program(name: str) -> str | None:
    """Find a program, in the system administrator's directories also."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{SBIN}")


def raise_descriptors() -> int:
    """Raise the soft limit on descriptors to the hard one, for us and our children; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def most_streams(descriptors: int) -> int:
    """Give how many streams a proxy can hold: each takes two descriptors."""
    return max(0, (descriptors - KEPT_BACK - SPARE) // 2)


def facts(cores: Cores, roomy: Cores, descriptors: int, wake: float) -> dict[str, str]:
    """Describe the machine, as far as it says something about the figures."""
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(cores),
        "cores for streams and bulk": str(roomy),
        "waking another core and back": f"{wake * 1e6:.0f} µs",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') >> 20} MiB",
        "descriptors": str(descriptors),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        **{name: _version(*command) for name, command in _VERSIONS.items()},
    }


def processor_times() -> tuple[int, int]:
    """Give the ticks that all cores have counted, and those among them that the host gave to others."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    return sum(ticks), ticks[7]


def _processor() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.processor() or "unknown"


def _version(name: str, *arguments: str) -> str:
    program = find_program(name)
    if program is None:
        return "not installed"
    done = subprocess.run(
        (program, *arguments),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    first = (done.stdout + done.stderr).strip().partition("\n")[0]
    return first.partition(" - ")[0].partition(" Copyright")[0]
