"""nginx as a reverse proxy, set up as its documentation and common recipes have it."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CONFIG = """
daemon off;
worker_processes 1;
pid {home}/pid;
error_log {home}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location /api/bot/ {{
            proxy_pass http://127.0.0.1:{upstream}/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_buffering off;
            proxy_request_buffering off;
        }}
    }}
}}
"""


def find_nginx() -> str | None:
    """Give the program's path; None where it is not installed."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


@asynccontextmanager
async def running_nginx(program: str, upstream: int, home: Path) -> AsyncIterator[int]:
    """Run it within the block, in front of a port on loopback; give its own port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        (home / "nginx.conf").write_text(CONFIG.format(home=home, port=port, upstream=upstream))
        # As at an upgrade, it takes over the listening socket: so the port is free, and ready at once.
        environment = {**os.environ, "NGINX": f"{listening.fileno()};"}
        command = [program, "-p", str(home), "-c", str(home / "nginx.conf"), "-e", str(home / "error.log")]
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                await trio.run_process(
                    command, env=environment, pass_fds=[listening.fileno()], capture_stderr=True
                )

            nursery.start_soon(run)
            yield port
            nursery.cancel_scope.cancel()
