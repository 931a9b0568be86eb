"""HAProxy: one thread, kept upstream connections, no log."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.children import free_port, running
from bench.machine import SPARE, find_program
from bench.peers.peer import LIVE, STATIC, Missing, Peer, Site, through

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = """
global
    nbthread {workers}
    maxconn {connections}
defaults
    mode http
    option http-no-delay
    option forwardfor
    http-reuse always
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
frontend public
    bind 127.0.0.1:{port} backlog 4096
    use_backend live if {{ path_beg {live}/ }}
    default_backend static
backend static
    http-request replace-path {static}(/.*) \\1
    server one 127.0.0.1:{static_port}
backend live
    http-request replace-path {live}(/.*) \\1
    server one 127.0.0.1:{live_port}
"""


@contextmanager
def start(site: Site) -> Iterator[Peer]:
    """Run it. Raises Missing, BenchError."""
    program = find_program("haproxy")
    if program is None:
        raise Missing("haproxy is not installed")
    port = free_port()
    config = site.directory / "haproxy.cfg"
    text = CONFIG.format(
        port=port,
        workers=site.workers,
        static_port=site.static_port,
        live_port=site.live_port,
        static=STATIC,
        live=LIVE,
        connections=(site.descriptors - SPARE // 4) // 2,
    )
    config.write_text(text)
    argv = (program, "-db", "-f", str(config))
    with running("haproxy", argv, port=port, directory=site.directory, cores=site.cores) as pid:
        yield through("haproxy", port, pid)
