"""The binary, the checkout that it was built from, and a proxy in Go of the same shape."""

from __future__ import annotations

import statistics
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.binary.measures import start_seconds, under_load, version_seconds
from bench.children import free_port, pinned
from bench.ours import environment, write_config
from bench.peers import go, muxi
from bench.peers.peer import STATIC, Site

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.machine import Cores
    from bench.plan import Plan


@dataclass(frozen=True, slots=True)
class Course:
    """Where all are measured: the same cores, limits and plan."""

    cores: Cores
    descriptors: int
    most_streams: int
    plan: Plan


@dataclass(frozen=True, slots=True)
class Ours:
    """A muxi-server, as a file or from source."""

    name: str
    program: Sequence[str]

    def measure(self, course: Course) -> dict[str, float]:
        """Measure all of it once. Raises BenchError, Missing, OSError."""
        version = {
            "cold": version_seconds(self.program, cold=True) * 1e3,
            "warm": statistics.median(version_seconds(self.program) for _ in range(5)) * 1e3,
        }
        with _room() as room:
            port = free_port()
            write_config(room, port)
            argv = (*self.program, "start")
            start = start_seconds(argv, port, "/ping", environment(room)) * 1e3
        with _hosted(course, self.program) as (_, host):
            return {**version, "start": start, **_loaded(course, host.peer)}


@dataclass(frozen=True, slots=True)
class Go:
    """The proxy in Go; it has no `version`, and the checkout's server runs the services behind it."""

    program: Path
    name: str = "go"

    def measure(self, course: Course) -> dict[str, float]:
        """Measure all of it once. Raises BenchError, Missing, OSError."""
        with _hosted(course, muxi.CHECKOUT) as (room, host):
            site = Site(host.static_port, host.live_port, room / "go", course.cores.proxy, course.descriptors)
            site.directory.mkdir()
            port = free_port()
            argv = go.command(self.program, port, site)
            start = start_seconds(argv, port, f"{STATIC}/small", {"GOMAXPROCS": "1"}) * 1e3
            with go.start(site) as peer:
                return {"start": start, **_loaded(course, peer)}


def _loaded(course: Course, peer: muxi.Peer) -> dict[str, float]:
    return under_load(peer, course.plan, most_streams=course.most_streams)


@contextmanager
def _hosted(course: Course, program: Sequence[str]) -> Iterator[tuple[Path, muxi.Host]]:
    """Run a server of ours, and the services in it."""
    with pinned(course.cores.load), _room() as room:
        site = muxi.Site(room, course.cores.proxy, course.cores.load, course.plan.bulk, program=program)
        with muxi.start(site) as host:
            yield room, host


@contextmanager
def _room() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="muxi-bench-") as directory:
        yield Path(directory)
