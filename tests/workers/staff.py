"""A house (see `tests.proxy.house`) in which worker processes proxy beside the test's own."""

from __future__ import annotations

import os
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from muxi.proxy.limits import Limits
from muxi.proxy.trust import Trust
from muxi.workers.crew import PATIENCE, Crew
from muxi.workers.messages import Settings, TlsFiles
from tests.proxy.house import answer_ok, open_house
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from hypercorn.typing import ASGIFramework

    from muxi.proxy.certificates import Certificates
    from tests.proxy.house import House, Wire

COMMAND = (sys.executable, "-P", "-m", "muxi", "worker")


class Staff:
    """The workers of a house. A new connection goes to one that has no more than the test's process."""

    def __init__(self, house: House, crew: Crew) -> None:
        self.house = house
        self.crew = crew

    @property
    def pids(self) -> list[int]:
        """Those that serve."""
        return [int(str(row["pid"])) for row in self.crew.status() if row["ready"]]

    @property
    def own(self) -> int:
        """How many connections the test's own process holds."""
        return len(self.house.listener.context.connections)

    async def ready(self, count: int) -> None:
        await until(lambda: len(self.pids) == count)

    async def connect(self) -> Wire:
        """A client whose connection is a worker's."""
        before = self.crew.connections
        wire = await self.house.connect()
        await until(lambda: self.house.listener.open_connections > 0 and self.crew.connections > before)
        return wire

    def is_here(self, pid: int) -> bool:
        """Whether there is such a process, also if it only waits to be reaped."""
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True


@asynccontextmanager
async def staffed(
    app: ASGIFramework = answer_ok,
    *,
    count: int = 1,
    limits: Limits | None = None,
    trusted: Sequence[str] = (),
    proxy_protocol: bool = False,
    pair: tuple[Path, Path] | None = None,
    certificates: Certificates | None = None,
    patience: float = PATIENCE,
) -> AsyncIterator[Staff]:
    """A house with so many workers, which serve already; `pair` names the files of `certificates`."""
    limits = limits or Limits()
    settings = Settings(
        version="9.9.9",
        processes=count + 1,
        limits=limits,
        trusted_proxies=tuple(trusted),
        proxy_protocol=proxy_protocol,
        tls=None if pair is None else TlsFiles(str(pair[0]), str(pair[1]), "1.2"),
        log_level="debug",
    )
    async with open_house(
        app,
        limits=limits,
        trusts=Trust(trusted),
        proxy_protocol=proxy_protocol,
        certificates=certificates,
        processes=count + 1,
    ) as house:
        crew = Crew(count, COMMAND, settings, house.listener, house.routes, patience=patience)
        house.listener.colleagues = crew
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crew.run)
            staff = Staff(house, crew)
            await staff.ready(count)
            try:
                yield staff
            finally:
                for client in house.clients:
                    client.leave()
                nursery.cancel_scope.cancel()
