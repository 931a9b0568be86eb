"""Telling the service manager how it goes: systemd's notification protocol, sd_notify(3).

A datagram of `NAME=value` lines to the socket that NOTIFY_SOCKET names. Where nobody listens,
nothing is sent; a manager that does not take it is no reason to stop serving.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Final

import structlog
import trio

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger()

VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Manager:
    """The service manager, if there is one. Every method is quick, and fails for nobody.

    `watchdog` is how often, in seconds, it wants to hear that this program is alive; 0: never.
    """

    def __init__(self, address: str | None = None, watchdog: float = 0.0) -> None:
        self.watchdog = watchdog
        self._address = address
        self._socket: socket.socket | None = None
        if address and hasattr(socket, "AF_UNIX") and address[0] in "/@":
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Manager:
        usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        for_us = usec.isdecimal() and (not pid or pid == str(os.getpid()))
        return cls(environment.get("NOTIFY_SOCKET"), int(usec) / 1e6 if for_us else 0.0)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def ready(self, status: str) -> None:
        """Say that the port answers; also the end of `reloading`."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self, status: str) -> None:
        """Say that the configuration is read again, or another program takes over; `ready` follows."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}", f"STATUS={status}")

    def stopping(self, status: str) -> None:
        self._send("STOPPING=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """Say in one line what is being done, for `systemctl status`."""
        self._send(f"STATUS={status}")

    def extend(self, seconds: float) -> None:
        """Ask for so many seconds more, from now, for the starting or stopping under way."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def alive(self) -> None:
        if self.watchdog:
            self._send("WATCHDOG=1")

    async def keep_alive(self) -> None:
        """Say that the event loop turns, twice as often as it is asked for; for ever.

        It is a task like any other: when the loop hangs, or never comes round, so does this.
        """
        if not self.watchdog or self._socket is None:
            return
        while True:
            self.alive()
            await trio.sleep(self.watchdog / 2)

    def _send(self, *lines: str) -> None:
        if self._socket is None or self._address is None:
            return
        address = self._address
        try:
            self._socket.sendto(
                "\n".join(lines).encode(), "\0" + address[1:] if address[0] == "@" else address
            )
        except OSError as error:
            log.debug("service manager not told", error=error.strerror)
