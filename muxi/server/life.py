"""The life of a server on one event loop: it serves, and does what signals ask for, one at a time.

    SIGTERM, SIGINT   end; a second one ends at once, and formations are killed
    SIGHUP            read the configuration again
    SIGUSR2           let the program that is installed now take this one's place

A stop ends a reload or an upgrade that is under way, until formations are being let go; from then
on it waits for the new program, which ends as soon as it has started. A reload or an upgrade
asked for during another one is done after it; during a shutdown both are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import structlog
import trio

from muxi.errors import MuxiError
from muxi.process.reaper import Reaper
from muxi.server import upgrade
from muxi.server.composition import Server
from muxi.server.reload import reload
from muxi.server.shutdown import Shutdown
from muxi.server.signals import RELOAD, STOP

if TYPE_CHECKING:
    import signal
    import socket
    from collections.abc import Callable, Sequence

    from muxi.config.load import Loaded
    from muxi.config.model import Config
    from muxi.errors import OperatorError
    from muxi.process.confinement import Confiner
    from muxi.proxy.certificates import Certificates
    from muxi.server.history import History
    from muxi.server.notify import Manager
    from muxi.server.program import Program
    from muxi.server.signals import SignalBox

log = structlog.get_logger()

CLEAN, FAILED, BY_SIGNAL = 0, 1, 128


class Ending(NamedTuple):
    """How a life has ended: with an exit status, or so that another program can take over."""

    status: int
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a life is lived with, beside its configuration."""

    sockets: Sequence[socket.socket]
    certificates: Certificates | None
    reread: Callable[[], Loaded]
    program: Program
    signals: SignalBox
    manager: Manager
    history: History
    confiner: Confiner


class Life:
    """One run of the event loop. `run` is its only task; `take` is told of signals.

    `config` is the configuration in force. `failure`: why the upgrade before it did not come about.
    """

    def __init__(self, config: Config, around: Surroundings, failure: OperatorError | None = None) -> None:
        self.config = config
        self._around = around
        self._failure = failure
        self._nursery: trio.Nursery
        self._asked = trio.Event()
        self._stop = trio.Event()
        self._reload = self._upgrade = False
        #: What a stop ends; None while nothing is under way.
        self._under_way: trio.CancelScope | None = None
        #: Whether formations are being let go, so that there is no way back.
        self._committed = False
        self._ending: Ending | None = None

    async def run(self) -> Ending:
        """Serve to the end. Raises OperatorError when it can't begin to."""
        async with trio.open_nursery() as self._nursery:
            await self._nursery.start(self._around.signals.deliver, self.take)
            self._nursery.start_soon(self._around.manager.keep_alive)
            ending = await self._serve()
            if self._ending is None:
                self._ending = ending
            self._nursery.cancel_scope.cancel()
        assert self._ending is not None
        return self._ending

    def take(self, number: signal.Signals) -> None:
        """Do what a signal asks for, or remember it for when it can be done."""
        if self._committed:
            self._around.signals.note(number)
        elif number in STOP:
            self._take_stop(number)
        elif self._stop.is_set():
            log.warning("signal ignored: the server ends", signal=number.name)
        elif number in RELOAD:
            self._reload = True
        else:
            self._upgrade = True
        self._asked.set()

    def _take_stop(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            log.warning("ending at once", signal=number.name)
            self._ending = Ending(BY_SIGNAL + number)
            self._nursery.cancel_scope.cancel()
            return
        log.info("shutting down", signal=number.name)
        self._stop.set()
        if self._under_way is not None:
            self._under_way.cancel()

    async def _serve(self) -> Ending:
        around = self._around
        server = await Server.load(
            self.config,
            around.sockets,
            around.certificates,
            history=around.history,
            confiner=around.confiner,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(Reaper(around.confiner).run)
            await nursery.start(server.run)
            upgrade.arrived()
            await around.manager.ready(f"Serving on {server.url}")
            if self._failure is None:
                await around.history.started()
            else:
                await around.history.refused("upgrade", self._failure)
            ending = await self._obey(server)
            self.config = server.config
            nursery.cancel_scope.cancel()
        return ending

    async def _obey(self, server: Server) -> Ending:
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            if self._stop.is_set():
                clean = await Shutdown(server, self._around.manager).run()
                return Ending(CLEAN if clean else FAILED)
            with trio.CancelScope() as self._under_way:
                if await self._change(server):
                    return Ending(CLEAN, replaced=True)
            self._under_way = None

    async def _change(self, server: Server) -> bool:
        """Reload, or make way for another program, as was asked; True: the way is free."""
        if self._reload:
            self._reload = False
            await self._around.manager.reloading("Reading the configuration again")
            await reload(server, self._around.reread, self._around.history)
            await self._around.manager.ready(f"Serving on {server.url}")
        if self._upgrade:
            free = await self._make_way(server)
            self._upgrade = False
            return free
        return False

    async def _make_way(self, server: Server) -> bool:
        manager, program = self._around.manager, self._around.program
        await manager.reloading("Upgrade: asking the new program")
        try:
            await upgrade.prepare(server, program)
        except MuxiError as error:
            await self._around.history.refused("upgrade", error)
            await manager.ready(f"Serving on {server.url}")
            return False
        await manager.status("Upgrade: requests under way may end")
        budget = server.config.server.upgrade_timeout
        if not await upgrade.settle(server, budget):
            log.warning("upgrade: some requests did not end in time", seconds=budget)
        await server.last_report()
        await upgrade.close(server)
        self._committed = True
        log.info("upgrade: another program takes over", program=program.path)
        await upgrade.let_go(server)
        return True
