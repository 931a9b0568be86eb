"""The port pool: which port of the range belongs to whom. Pure but for the check it is given.

A port is kept by its key's name until released; asking again under the same key gives the same
port. Whether something outside holds a port is asked through `is_free`, at the last moment: the
answer can be stale the next instant, so a formation's listener is what counts in the end.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from muxi.errors import NoPort

if TYPE_CHECKING:
    from collections.abc import Callable, Container


def can_be_bound(port: int) -> bool:
    """Tell whether nobody on this machine listens on the port, on whichever address.

    The wildcard address is tried, since a listener on any single address refuses it. Sockets
    that merely linger in TIME_WAIT do not count (SO_REUSEADDR).
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - bound, never listened on
        except OSError:
            return False
    return True


class PortPool:
    """Ports `start` (inclusive) to `end` (exclusive), each held by at most one key."""

    def __init__(self, start: int, end: int, is_free: Callable[[int], bool] = can_be_bound) -> None:
        self.start = start
        self.end = end
        self._is_free = is_free
        self._held: dict[str, int] = {}

    @property
    def allocated(self) -> int:
        return len(self._held)

    def get(self, key: str) -> int | None:
        return self._held.get(key)

    def allocate(self, key: str, avoid: Container[int] = ()) -> int:
        """Give the key its port: the one it holds, else the lowest that is free.

        `avoid` names ports that turned out to be unusable. Raises NoPort when none is left.
        """
        held = self._held.get(key)
        if held is not None and held not in avoid:
            return held
        taken = set(self._held.values())
        for port in range(self.start, self.end):
            if port not in taken and port not in avoid and self._is_free(port):
                self._held[key] = port
                return port
        raise NoPort(
            f"No free port between {self.start} and {self.end - 1}.",
            cure="Delete formations that are not needed, or widen formations.port_range.",
        )

    def reserve(self, key: str, port: int, *, in_use: bool = False) -> bool:
        """Take a certain port for the key; False when another key or a stranger holds it.

        With `in_use` somebody may listen on it: the key's own process, perhaps.
        """
        if self._held.get(key) == port:
            return True
        if port in self._held.values() or not (in_use or self._is_free(port)):
            return False
        self._held[key] = port
        return True

    def usable(self, key: str) -> bool:
        """Say whether the key has a port, and nobody listens on it."""
        port = self._held.get(key)
        return port is not None and self._is_free(port)

    def swap(self, one: str, other: str) -> None:
        """Let two keys, which both have a port, exchange them."""
        self._held[one], self._held[other] = self._held[other], self._held[one]

    def release(self, key: str) -> None:
        """Give the key's port back. A key without one is fine: a port is never freed twice."""
        self._held.pop(key, None)
