"""The worker process: a listener without sockets that listen, and a copy of the routing table.

It has no part in managing. It knows what the main process tells it, and ends with it: when the
channel closes, at once, for without it routes would grow old.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
import trio

from muxi.errors import OperatorError
from muxi.observe.logging import configure_logging, set_level
from muxi.proxy.certificates import Certificates
from muxi.proxy.collector import spare_collector
from muxi.proxy.listener import Listener
from muxi.proxy.sockets import descriptor_ceiling
from muxi.proxy.trust import Trust
from muxi.registry.routes import RouteTable
from muxi.telemetry.sdk_releases import newest
from muxi.workers import counts
from muxi.workers.channel import Channel, ChannelError
from muxi.workers.elsewhere import Elsewhere
from muxi.workers.messages import (
    Configure,
    Drain,
    Drained,
    Ready,
    Report,
    Retire,
    Take,
    Taken,
    worker_decoder,
)
from muxi.workers.replica import Replica

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muxi.proxy.connection import Connection
    from muxi.workers.messages import FromMain, Settings

log = structlog.get_logger()

FAILED: Final = 1
#: Seconds between two reports, when there is nothing to be told at once.
REPORT_SECONDS: Final = 0.5
#: Seconds after a report in which what is to be told gathers, so that many short connections cost few.
GATHER_SECONDS: Final = 0.002
#: What others may send us, or to our whole control group: the main process says when to end.
IGNORED: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")


def run(descriptor: int) -> int:
    """Work until the main process ends, or says so. Returns the exit code."""
    for name in IGNORED:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    sock = socket.socket(fileno=descriptor)
    sock.set_inheritable(False)
    channel = Channel(sock, worker_decoder())
    spare_collector()
    with contextlib.closing(channel):
        return trio.run(_work, channel)


async def _work(channel: Channel[FromMain]) -> int:
    messages = await channel.receive()
    if not messages:
        return FAILED
    (first, _), *others = messages
    assert isinstance(first, Configure)
    settings = first.settings
    logs = configure_logging(
        settings.log_level, "json" if settings.log_format == "json" else "text", _output(settings)
    )
    structlog.contextvars.bind_contextvars(worker=os.getpid())
    code = FAILED
    try:
        await Worker(channel, settings).run(others)
        code = 0
    except* ChannelError as failures:
        log.debug("channel_closed", reason=str(failures.exceptions[0]))
    except* OperatorError as failures:
        log.error("worker_failed", reason=str(failures.exceptions[0]))
    finally:
        logs.close()
    return code


def _output(settings: Settings) -> str | Path:
    return settings.log_output if settings.log_output in {"stderr", "stdout"} else Path(settings.log_output)


def load_certificates(settings: Settings) -> Certificates | None:
    """Load what the settings name. Raises OperatorError."""
    tls = settings.tls
    if tls is None:
        return None
    return Certificates(Path(tls.cert), None if tls.key is None else Path(tls.key), tls.min_version)


class Worker:
    """The parts of a worker, and the one task that does what it is told."""

    def __init__(self, channel: Channel[FromMain], settings: Settings) -> None:
        self._channel = channel
        self._certificates = load_certificates(settings)
        self._sdk_releases = settings.sdk_releases
        routes = RouteTable()
        self._listener = Listener(
            routes,
            Elsewhere(channel.send, lambda client: self._serials.get(client, 0)),
            version=settings.version,
            limits=settings.limits,
            trusts=Trust(settings.trusted_proxies),
            proxy_protocol=settings.proxy_protocol,
            certificates=self._certificates,
            processes=settings.processes,
            latest=self._latest,
        )
        self._replica = Replica(routes, self._stir)
        self._stirred = trio.Event()
        self._serials: dict[Connection, int] = {}
        self._closed: list[int] = []
        self._tally = counts.tally_numbers(self._listener.tally)
        self._retired = False
        self._nursery: trio.Nursery

    async def run(self, messages: Sequence[tuple[FromMain, socket.socket | None]]) -> None:
        """Do what these messages say, and those that come, to the end. Raises ChannelError."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._channel.run)
            await nursery.start(self._listener.serve, ())
            nursery.start_soon(self._report_always)
            # Each takes two: the client's, and one to the formation.
            self._channel.send(Ready(max(1, descriptor_ceiling() // 2)))
            await self._obey(messages)
            while messages := await self._channel.receive():
                await self._obey(messages)
            nursery.cancel_scope.cancel()

    async def _obey(self, messages: Sequence[tuple[FromMain, socket.socket | None]]) -> None:
        taken: list[tuple[Take, socket.socket | None]] = []
        drain: Drain | None = None
        for message, sock in messages:
            match message:
                case Take():
                    taken.append((message, sock))
                case Configure():
                    await self._configure(message.settings)
                case Retire():
                    self._retired = True
                    self._listener.retire()
                case Drain():
                    drain = message
                case _:
                    self._replica.apply(message)
        if taken:
            # Before anything is read of them, so that nobody else serves them if we end.
            await self._channel.sent(self._channel.send(Taken(taken[-1][0].serial)))
            for message, sock in taken:
                self._welcome(message, sock)
        if drain is not None:
            self._nursery.start_soon(self._drain, drain)

    def _welcome(self, message: Take, sock: socket.socket | None) -> None:
        over = partial(self._gone, message.serial)
        connection = None if sock is None else self._listener.welcome(sock, message.peer, over)
        if connection is None:
            over()
        else:
            self._serials[connection] = message.serial

    def _gone(self, serial: int, connection: Connection | None = None) -> None:
        if connection is not None:
            del self._serials[connection]
        self._closed.append(serial)
        self._stir()

    def _stir(self) -> None:
        self._stirred.set()

    def _latest(self, sdk: bytes, version: bytes) -> bytes | None:
        return None if self._sdk_releases is None else newest(self._sdk_releases, sdk, version)

    async def _configure(self, settings: Settings) -> None:
        set_level(settings.log_level)
        self._sdk_releases = settings.sdk_releases
        try:
            certificates = await trio.to_thread.run_sync(load_certificates, settings)
        except OperatorError as error:
            log.error("certificate_not_reloaded", reason=error.message, cure=error.cure)
            certificates = None
        if self._certificates is not None and certificates is not None:
            self._certificates.take(certificates)
        self._listener.configure(
            settings.limits, Trust(settings.trusted_proxies), proxy_protocol=settings.proxy_protocol
        )

    async def _drain(self, message: Drain) -> None:
        cut = await self._listener.drain(message.budget, settle=message.settle)
        self._channel.send(self._report(traffic=True))
        await self._channel.sent(self._channel.send(Drained(cut)))
        self._nursery.cancel_scope.cancel()

    async def _report_always(self) -> None:
        due = trio.current_time()
        while True:
            with trio.move_on_at(due):
                await self._stirred.wait()
            self._stirred = trio.Event()
            now = trio.current_time()
            # What changes with every request is told now and then only.
            report = self._report(traffic=now >= due)
            if now >= due:
                due = now + REPORT_SECONDS
            await self._channel.sent(self._channel.send(report))
            await trio.sleep(GATHER_SECONDS)

    def _report(self, *, traffic: bool) -> Report:
        """Tell how things stand, and what has been counted since the last time."""
        closed, self._closed = tuple(self._closed), []
        targets = tuple(self._replica.targets())
        if not traffic:
            return Report(self._replica.update, closed, targets)
        tally = counts.tally_numbers(self._listener.tally)
        added, self._tally = counts.tally_added(tally, self._tally), tally
        return Report(
            self._replica.update, closed, targets, tuple(self._replica.traffic()), added, self._busy()
        )

    def _busy(self) -> tuple[int, ...] | None:
        if not self._retired:
            return None
        busy = self._listener.busy()
        return tuple(serial for connection, serial in self._serials.items() if connection in busy)
