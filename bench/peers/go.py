"""A proxy in Go of the shape that ours replaces (go-proxy/main.go), GOMAXPROCS=1."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.children import free_port, running
from bench.machine import find_program
from bench.peers.peer import HOST, LIVE, STATIC, Missing, Peer, Site, through

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parent / "go-proxy" / "main.go"
BUILD_SECONDS = 180.0


@contextmanager
def start(site: Site) -> Iterator[Peer]:
    """Build it if that is not done yet, and run it. Raises Missing, BenchError."""
    port = free_port()
    argv = command(build(site.directory.parent / "go-proxy"), port, site)
    env = {"GOMAXPROCS": str(site.workers)}
    with running("go", argv, port=port, directory=site.directory, cores=site.cores, env=env) as pid:
        yield through("go", port, pid)


def command(program: Path, port: int, site: Site) -> tuple[str, ...]:
    """Give the command line that runs it on that port."""
    return (
        str(program),
        f"{HOST}:{port}",
        f"{STATIC}=http://{HOST}:{site.static_port}",
        f"{LIVE}=http://{HOST}:{site.live_port}",
    )


def build(binary: Path) -> Path:
    """Compile it if that is not done yet. Raises Missing."""
    if binary.exists():
        return binary
    compiler = find_program("go")
    if compiler is None:
        raise Missing("the Go compiler is not installed")
    argv = (compiler, "build", "-o", str(binary), str(SOURCE))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if done.returncode:
        raise Missing(f"the Go proxy can't be built: {done.stderr.strip()}")
    return binary
