"""The workers of a server, as its listener sees them: kept running, given connections, ended with it.

One task a worker. A worker that ends, or is silent for too long, is started again, after a pause
that grows; meanwhile the others, and the main process, take all new connections.
"""

from __future__ import annotations

import os
import random
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import structlog
import trio

from muxi.process.restart import RestartPolicy, Retry
from muxi.process.stamina import Stamina
from muxi.proxy.stats import Tally
from muxi.proxy.tunnel import GRACE
from muxi.timestamps import rfc3339
from muxi.workers import counts
from muxi.workers.channel import ChannelError
from muxi.workers.link import Link
from muxi.workers.process import WorkerProcess

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from muxi.proxy.listener import Listener
    from muxi.registry.routes import RouteTable
    from muxi.workers.messages import Settings

log = structlog.get_logger()

#: Seconds of silence after which a worker is taken to hang, and is killed. It reports twice a second.
PATIENCE: Final = 10.0
#: Seconds that a worker may take beyond the budget of a drain.
SLACK: Final = 2.0
#: For ever, and without forgiving: a worker that can't start is no reason to end the server.
POLICY: Final = RestartPolicy(max_restarts=1 << 31, delay=0.25, max_delay=30.0, reset_after=60.0)


class Crew:
    """`count` processes that proxy beside this one; `command` starts one. See `Colleagues`."""

    def __init__(
        self,
        count: int,
        command: Sequence[str],
        settings: Settings,
        listener: Listener,
        routes: RouteTable,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._count = count
        self._command = command
        self._settings = settings
        self._listener = listener
        self._routes = routes
        self._patience = patience
        self._links: list[Link] = []
        self._past = Tally()
        self._cut = 0
        self._draining = trio.Event()
        self._running = 0
        self._ended = trio.Event()

    async def run(self) -> None:
        """Keep them running, until they have been drained. Cancelling it kills them."""
        async with trio.open_nursery() as nursery:
            for _ in range(self._count):
                self._running += 1
                nursery.start_soon(self._keep)

    async def _keep(self) -> None:
        stamina = Stamina(POLICY, random.random)
        try:
            while not self._draining.is_set():
                stamina.healthy()
                await self._live()
                stamina.failed()
                decision = stamina.decide()
                assert isinstance(decision, Retry)
                with trio.move_on_after(decision.delay):
                    await self._draining.wait()
        finally:
            self._running -= 1
            if not self._running:
                self._ended.set()

    async def _live(self) -> None:
        """Run one worker to its end."""
        try:
            process, sock = WorkerProcess.start(self._command, os.environ)
        except OSError as error:
            log.error("worker_not_started", reason=error.strerror)
            return
        link = Link(process.pid, sock, self._listener, self._routes, self._patience)
        self._links.append(link)
        reason, patience = "it ended by itself", 0.0
        try:
            # Once it has closed the channel it serves nobody; then it may write out its log.
            patience = SLACK if await link.run(self._settings) else 0.0
        except ChannelError as error:
            reason = str(error)
        finally:
            try:
                code = await process.end(patience)
            finally:
                self._let_go(link)
        if not self._draining.is_set():
            log.error("worker_ended", pid=process.pid, exit_code=code, reason=reason)

    def _let_go(self, link: Link) -> None:
        link.close()
        self._links.remove(link)
        self._cut += link.cut
        counts.add_tally(self._past, counts.tally_numbers(link.tally))

    def configure(self, settings: Settings) -> None:
        """Have all of them go by other settings."""
        self._settings = settings
        for link in self._links:
            link.configure(settings)

    # What the listener asks: see `Colleagues`

    @property
    def connections(self) -> int:
        return sum(link.connections for link in self._links)

    def take(self, sock: socket.socket, peer: str, own: int) -> bool:
        """Give a new connection to the worker with the fewest, unless we have fewer ourselves."""
        for link in sorted(self._links, key=lambda link: link.connections):
            if link.connections > own:
                return False
            if link.give(sock, peer):
                return True
        return False

    def tally(self) -> Tally:
        found = Tally(**asdict(self._past))
        for link in self._links:
            counts.add_tally(found, counts.tally_numbers(link.tally))
        return found

    def status(self) -> Sequence[Mapping[str, object]]:
        return [{**link.status(), "since": rfc3339(link.since)} for link in self._links]

    def retire(self) -> None:
        for link in self._links:
            link.retire()

    def busy(self) -> frozenset[object]:
        return frozenset((link.pid, serial) for link in self._links for serial in link.busy)

    async def drain(self, budget: float, settle: float) -> int:
        """Have all of them end, kill those that take too long; gives how many connections were cut."""
        self._draining.set()
        for link in self._links:
            if link.ready:
                link.drain(budget, settle)
            else:
                link.give_up()
        if self._running:
            with trio.move_on_after(settle + budget + GRACE + SLACK):
                await self._ended.wait()
            for link in self._links:
                self._cut += link.connections
                link.give_up()
            await self._ended.wait()
        return self._cut
