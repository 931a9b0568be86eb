"""Telling the service manager how it goes: systemd's notification protocol, sd_notify(3).

A datagram of `NAME=value` lines to the socket that NOTIFY_SOCKET names. Where nobody listens,
nothing is sent; a manager that does not take it is no reason to stop serving.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog
import trio

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger()

SEND_SECONDS: Final = 1.0
"""How long a word may wait for room with the service manager."""
VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Manager:
    """The service manager, if there is one. No method fails, or waits for more than a second.

    `watchdog` is how often, in seconds, it wants to hear that this program is alive; 0: never.
    """

    def __init__(self, address: str | None = None, watchdog: float = 0.0) -> None:
        self.watchdog = watchdog
        self._socket = _connect(address) if address else None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Manager:
        usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        for_us = usec.isdecimal() and (not pid or pid == str(os.getpid()))
        return cls(environment.get("NOTIFY_SOCKET"), int(usec) / 1e6 if for_us else 0.0)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    async def ready(self, status: str) -> None:
        """Say that the port answers; also the end of `reloading`, and of a longer time without a word."""
        again = (f"WATCHDOG_USEC={round(self.watchdog * 1e6)}",) if self.watchdog else ()
        await self._send("READY=1", f"STATUS={status}", *again)

    async def reloading(self, status: str) -> None:
        """Say that the configuration is read again, or another program takes over; `ready` follows."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        await self._send("RELOADING=1", f"MONOTONIC_USEC={now}", f"STATUS={status}")

    async def stopping(self, status: str) -> None:
        await self._send("STOPPING=1", f"STATUS={status}")

    async def status(self, status: str) -> None:
        """Say in one line what is being done, for `systemctl status`."""
        await self._send(f"STATUS={status}")

    async def extend(self, seconds: float) -> None:
        """Ask for so many seconds more, from now, for the starting or stopping under way."""
        await self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def alive(self) -> None:
        """Say so, or not if that would have to wait. May be said off the event loop."""
        self._say("WATCHDOG=1")

    def silent(self, seconds: float) -> None:
        """Say that nothing will be heard for so long, until `ready`. May be said off the event loop."""
        self._say(f"WATCHDOG_USEC={round(seconds * 1e6)}", "WATCHDOG=1")

    async def keep_alive(self) -> None:
        """Say that the event loop turns, twice as often as it is asked for; for ever.

        It is a task like any other: when the loop hangs, or never comes round, so does this.
        """
        if not self.watchdog or self._socket is None:
            return
        while True:
            self.alive()
            await trio.sleep(self.watchdog / 2)

    def _say(self, *lines: str) -> None:
        if self._socket is not None and self.watchdog:
            with suppress(OSError):
                self._socket.send("\n".join(lines).encode())

    async def _send(self, *lines: str) -> None:
        """Send one datagram, and wait for room for it, but not for long."""
        if self._socket is None:
            return
        data = "\n".join(lines).encode()
        try:
            with trio.fail_after(SEND_SECONDS):
                while True:
                    try:
                        self._socket.send(data)
                    except BlockingIOError:
                        await trio.lowlevel.wait_writable(self._socket)
                    else:
                        return
        except (OSError, trio.TooSlowError) as error:
            log.warning("service manager not told", word=lines[0], error=str(error) or "it does not listen")


def _connect(address: str) -> socket.socket | None:
    """Connect to a path, or with "@" to an abstract name: so the kernel says when there is room."""
    if not hasattr(socket, "AF_UNIX") or address[0] not in "/@":
        return None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect("\0" + address[1:] if address[0] == "@" else address)
    except OSError as error:
        sock.close()
        log.warning("service manager can't be told", address=address, error=error.strerror)
        return None
    return sock
