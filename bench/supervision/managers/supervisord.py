"""supervisord (Debian: supervisor)."""

from __future__ import annotations

import shlex
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.children import running
from bench.machine import find_program
from bench.peers.peer import HOST, Missing
from bench.supervision.managers.manager import COMMAND, FIRST_PORT, Managed, own_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTROL_PORT = FIRST_PORT - 1
HEAD = f"""
[supervisord]
nodaemon=true
minfds=4096
logfile={{directory}}/supervisord.log
pidfile={{directory}}/supervisord.pid
childlogdir={{directory}}
[inet_http_server]
port={HOST}:{CONTROL_PORT}
"""
PROGRAM = """
[program:service-{number}]
command={command}
environment=HOST="{host}",PORT="{port}"
autorestart=true
startsecs=0
startretries=1000
"""


@contextmanager
def start(directory: Path, count: int) -> Iterator[Managed]:
    program = find_program("supervisord")
    if program is None:
        raise Missing("supervisord is not installed")
    doors = own_ports(count)
    config = directory / "supervisord.conf"
    config.write_text(
        HEAD.format(directory=directory)
        + "".join(
            PROGRAM.format(number=number, command=shlex.join(COMMAND), host=HOST, port=door.port)
            for number, door in enumerate(doors)
        )
    )
    argv = (program, "-c", str(config))
    everywhere = frozenset(range(1024))
    with running("supervisord", argv, port=CONTROL_PORT, directory=directory, cores=everywhere) as pid:
        yield Managed([pid], doors)
    time.sleep(0.5)  # Its services' ports are free a moment after it has ended.
