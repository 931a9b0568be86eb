"""Our own server; its services are asked through its proxy."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bench.children import free_port, running
from bench.ours import Management, environment, write_config
from bench.peers.peer import Door
from bench.supervision.managers.manager import COMMAND, Managed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: The least that can be said (0 is the default).
DELAY = 0.010
MORE = f"  restart_delay: {DELAY}\n  max_restarts: 1000\n  max_formations: 1000"
#: Deploys at a time.
AT_ONCE = 4


@contextmanager
def start(directory: Path, count: int) -> Iterator[Managed]:
    again = (directory / "config").exists()
    port = int((directory / "port").read_text()) if again else free_port()
    if not again:
        (directory / "port").write_text(str(port))
        write_config(directory, port, MORE)
    argv = (sys.executable, "-m", "muxi", "start")
    everywhere = frozenset(range(1024))
    with running(
        "muxi", argv, port=port, directory=directory, cores=everywhere, env=environment(directory)
    ) as pid:
        names = [f"service-{number}" for number in range(count)]
        if not again:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                manifest = {"command": list(COMMAND)}
                list(pool.map(partial(Management(port).deploy, manifest=manifest, files={}), names))
        doors = [Door(port, f"/api/{name}") for name in names]
        yield Managed([pid], doors, DELAY, partial(Management(port).call, "GET", "/rpc/formations"))
