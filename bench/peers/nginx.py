"""nginx: one worker (or as many as ours has), kept upstream connections, no buffering, no log."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.children import free_port, running
from bench.machine import find_program
from bench.peers.peer import LIVE, STATIC, Missing, Peer, Site, through

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = """
daemon off;
worker_processes {workers};
worker_rlimit_nofile {descriptors};
pid {directory}/nginx.pid;
error_log stderr error;
user {user};
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    tcp_nodelay on;
    proxy_http_version 1.1;
    proxy_buffering off;
    proxy_request_buffering off;
    proxy_read_timeout 1h;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $upstream_connection;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Real-IP $remote_addr;
    map $http_upgrade $upstream_connection {{ default upgrade; '' ''; }}
    upstream static {{
        server 127.0.0.1:{static_port}; keepalive 128; keepalive_requests 1000000000;
    }}
    upstream live {{
        server 127.0.0.1:{live_port}; keepalive 128; keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location {static}/ {{ proxy_pass http://static/; }}
        location {live}/ {{ proxy_pass http://live/; }}
    }}
}}
"""


@contextmanager
def start(site: Site) -> Iterator[Peer]:
    """Run it. Raises Missing, BenchError."""
    program = find_program("nginx")
    if program is None:
        raise Missing("nginx is not installed")
    directory, port = site.directory / "nginx", free_port()
    directory.mkdir(exist_ok=True)
    config = directory / "nginx.conf"
    text = CONFIG.format(
        directory=directory,
        port=port,
        workers=site.workers,
        static_port=site.static_port,
        live_port=site.live_port,
        static=STATIC,
        live=LIVE,
        descriptors=site.descriptors,
        # Far more than descriptors: with few left it closes clients whose request it has not read yet.
        connections=4 * site.descriptors,
        user="root" if os.geteuid() == 0 else "nobody",
    )
    config.write_text(text)
    argv = (program, "-e", "stderr", "-p", str(directory), "-c", str(config))
    with running("nginx", argv, port=port, directory=directory, cores=site.cores) as pid:
        yield through("nginx", port, pid)
