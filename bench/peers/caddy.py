"""Caddy: GOMAXPROCS=1, since every proxy here has one core; no log."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.children import free_port, running
from bench.machine import find_program
from bench.peers.peer import LIVE, STATIC, Missing, Peer, Site, through

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = """
{{
    admin off
    auto_https off
}}
http://:{port} {{
    bind 127.0.0.1
    handle_path {static}/* {{
        reverse_proxy 127.0.0.1:{static_port} {{
            transport http {{
                keepalive_idle_conns_per_host 128
            }}
        }}
    }}
    handle_path {live}/* {{
        reverse_proxy 127.0.0.1:{live_port} {{
            flush_interval -1
        }}
    }}
}}
"""


@contextmanager
def start(site: Site) -> Iterator[Peer]:
    """Run it. Raises Missing, BenchError."""
    program = find_program("caddy")
    if program is None:
        raise Missing("caddy is not installed")
    port = free_port()
    config = site.directory / "Caddyfile"
    text = CONFIG.format(
        port=port, static_port=site.static_port, live_port=site.live_port, static=STATIC, live=LIVE
    )
    config.write_text(text)
    argv = (program, "run", "--config", str(config), "--adapter", "caddyfile")
    home = str(site.directory)
    env = {"GOMAXPROCS": str(site.workers), "HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}
    with running("caddy", argv, port=port, directory=site.directory, cores=site.cores, env=env) as pid:
        yield through("caddy", port, pid)
