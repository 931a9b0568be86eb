"""The main process's side of one worker: the connections it has been given, and what it has said."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from muxi.proxy.continued import HandedOver, Relayed
from muxi.proxy.stats import Tally
from muxi.proxy.trust import peer_address
from muxi.workers import counts
from muxi.workers.channel import Channel, ChannelError
from muxi.workers.messages import (
    Configure,
    Drain,
    Drained,
    Give,
    Ready,
    Report,
    Retire,
    Take,
    Taken,
    main_decoder,
)
from muxi.workers.remote import RemoteCopy

if TYPE_CHECKING:
    import socket

    from muxi.proxy.listener import Listener
    from muxi.registry.routes import RouteTable
    from muxi.workers.messages import FromWorker, Settings

#: Connections that a worker may have been given without having taken them yet.
WINDOW: Final = 512
#: Seconds that a worker may take until it is ready.
START_SECONDS: Final = 60.0
#: Seconds between the end of patience and giving up.
SECOND_LOOK: Final = 0.5


class _Given(NamedTuple):
    """A connection that is the worker's once it has taken it; until then it is open here, too."""

    serial: int
    peer: str
    sock: socket.socket


class Link:
    """One worker, from its start to its end. `patience`: seconds of silence after which it is given up."""

    def __init__(
        self, pid: int, sock: socket.socket, listener: Listener, routes: RouteTable, patience: float
    ) -> None:
        self.pid = pid
        self.since = time.time()
        self.tally = Tally()
        #: What it has cut at the end of a drain.
        self.cut = 0
        #: Connections with a request under way, as of its last report while retired.
        self.busy: tuple[int, ...] = ()
        self._channel = Channel(sock, main_decoder())
        self._copy = RemoteCopy(self._channel.send)
        self._listener = listener
        self._routes = routes
        self._patience = patience
        self._heard = trio.Event()
        self._scope = trio.CancelScope()
        #: How many connections it may hold; 0 until it is ready, and when it is over.
        self._room = 0
        self._serial = 0
        #: The addresses of those it holds, by their serials.
        self._peers: dict[int, str] = {}
        self._untaken: deque[_Given] = deque()

    @property
    def connections(self) -> int:
        return len(self._peers)

    @property
    def ready(self) -> bool:
        """Whether it serves."""
        return bool(self._room)

    def give(self, sock: socket.socket, peer: str) -> bool:
        """Give it a new connection; False if it has no room for one now."""
        if len(self._peers) >= self._room or len(self._untaken) >= WINDOW:
            return False
        self._serial += 1
        self._peers[self._serial] = peer_address(peer)
        self._listener.context.doorman.enter(peer_address(peer))
        self._untaken.append(_Given(self._serial, peer, sock))
        self._channel.send(Take(self._serial, peer), sock, keep=True)
        return True

    def configure(self, settings: Settings) -> None:
        """Have it go by other settings."""
        self._channel.send(Configure(settings))

    def retire(self) -> None:
        """See `Listener.retire`."""
        self._channel.send(Retire())

    def drain(self, budget: float, settle: float) -> None:
        """Have it end its connections, and itself."""
        self._channel.send(Drain(budget, settle))

    def give_up(self) -> None:
        """End it at once."""
        self._scope.cancel()

    def status(self) -> dict[str, object]:
        """Tell how it does, for the status page. `since` is Unix time."""
        return {
            "pid": self.pid,
            "since": self.since,
            "ready": self.ready,
            "connections": self.connections,
            "requests": self.tally.in_flight,
            "requests_total": self.tally.requests,
        }

    async def run(self, settings: Settings) -> bool:
        """Speak with it until it ends; False if it was given up.

        Raises ChannelError when it says nothing, or nonsense. `close` is called after that, once it is
        certain that it serves no more: until then it counts.
        """
        self._channel.send(Configure(settings))
        self._copy.publish_all(self._routes)
        self._routes.copies.append(self._copy)
        try:
            with self._scope:
                await self._speak()
        finally:
            self._room = 0
        return not self._scope.cancelled_caught

    async def _speak(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._channel.run)
                nursery.start_soon(self._watch)
                while messages := await self._channel.receive():
                    self._heard.set()
                    for message, sock in messages:
                        self._obey(message, sock)
                nursery.cancel_scope.cancel()
        except* ChannelError as failures:
            raise ChannelError(str(failures.exceptions[0])) from None

    async def _watch(self) -> None:
        while True:
            with trio.move_on_after(self._patience if self.ready else START_SECONDS):
                await self._heard.wait()
            if not self._heard.is_set():
                # If it was us who slept, its messages are there, only not read yet.
                await trio.sleep(SECOND_LOOK)
            if not self._heard.is_set():
                raise ChannelError("nothing was heard of it for too long")
            self._heard = trio.Event()

    def _obey(self, message: FromWorker, sock: socket.socket | None) -> None:
        match message:
            case Ready():
                self._room = message.connections
                self._copy.serving = True
            case Taken():
                while self._untaken and self._untaken[0].serial <= message.serial:
                    self._untaken.popleft().sock.close()
            case Give():
                self._go_on_with(message, sock)
            case Report():
                self._note(message)
            case Drained():
                self.cut = message.cut

    def _go_on_with(self, message: Give, sock: socket.socket | None) -> None:
        """Serve a connection that is not for workers."""
        self._forget(message.serial)
        if sock is None:
            return  # We had no descriptor left for it, and it has been closed.
        if self._listener.over:
            sock.close()
            return
        context, peer, data = self._listener.context, message.peer, message.data
        if message.serial:
            self._listener.go_on(HandedOver(context, sock, peer, data))
        else:
            self._listener.go_on(Relayed(context, sock, peer, message.scheme.decode(), data))

    def _note(self, report: Report) -> None:
        for serial in report.closed:
            self._forget(serial)
        self._copy.note(report)
        if report.tally:
            counts.add_tally(self.tally, report.tally)
        if report.busy is not None:
            self.busy = report.busy

    def _forget(self, serial: int) -> None:
        peer = self._peers.pop(serial, None)
        if peer is not None:
            self._listener.context.doorman.leave(peer)

    def close(self) -> None:
        """Take back what it has under way, and serve what it has been given but not taken."""
        self._channel.close()
        self._routes.copies.remove(self._copy)
        self._copy.close()
        self.tally.in_flight = 0
        for serial in tuple(self._peers):
            self._forget(serial)
        for given in self._untaken:
            self._listener.welcome(given.sock, given.peer)
        self._untaken.clear()
