"""Our own server, as anyone would run it, with the two services deployed as native formations."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.children import BenchError, free_port, running
from bench.machine import find_program
from bench.ours import DEADLINE, ROOT, Management, environment, write_config
from bench.peers.peer import Missing, Peer, through

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SCRIPTS = ROOT / "bench" / "upstream"
#: The server as this checkout has it.
CHECKOUT = (sys.executable, "-m", "muxi")


@dataclass(frozen=True, slots=True)
class Site:
    """Where the server may write, where it and the services run, how long the large bodies are."""

    directory: Path
    proxy_cores: frozenset[int]
    load_cores: frozenset[int]
    bulk: int
    workers: int = 1
    program: Sequence[str] = CHECKOUT


@dataclass(frozen=True, slots=True)
class Host:
    """The server and its formations' ports."""

    peer: Peer
    static_port: int
    live_port: int


@contextmanager
def start(site: Site) -> Iterator[Host]:
    """Run the server and deploy both services. Raises BenchError, Missing."""
    nginx = find_program("nginx")
    if nginx is None:
        raise Missing("nginx, which serves the small document, is not installed")
    port = free_port()
    write_config(site.directory, port, workers=site.workers)
    with running(
        "muxi",
        (*site.program, "start"),
        port=port,
        directory=site.directory,
        cores=site.proxy_cores,
        env=environment(site.directory),
    ) as pid:
        yield Host(
            through("muxi", port, pid, alone=True),
            _deploy(Management(port), site, "bench-static", "serve_static.py", {"BENCH_NGINX": nginx}),
            _deploy(Management(port), site, "bench-live", "serve_live.py", {}),
        )


def _deploy(server: Management, site: Site, name: str, script: str, env: dict[str, str]) -> int:
    """Deploy a service and wait until it is healthy; give its port."""
    (site.directory / name).mkdir()
    manifest = {
        "command": [sys.executable, script],
        "env": {
            "BENCH_DIRECTORY": str(site.directory / name),
            "BENCH_CORES": ",".join(map(str, sorted(site.load_cores))),
            "BENCH_BULK": str(site.bulk),
            **env,
        },
    }
    server.deploy(name, manifest, {script: (SCRIPTS / script).read_bytes()})
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        found = server.formation(name)
        if found["status"] == "running" and found["healthy"]:
            return int(str(found["port"]))
        time.sleep(0.05)
    raise BenchError(f"{name} is not healthy after {DEADLINE:g} s; see the logs in {site.directory}")
