"""Other processes that proxy, as this one sees them: none, unless `server.workers` says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from muxi.proxy.stats import Tally

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence


class Colleagues(Protocol):
    """What the listener asks of them. They have no sockets that listen: connections come from here."""

    @property
    def connections(self) -> int:
        """How many clients they hold."""
        ...

    def take(self, sock: socket.socket, peer: str, own: int) -> bool:
        """Take a new connection over, if one of them holds fewer than `own`, which are ours."""
        ...

    def tally(self) -> Tally:
        """Tell what they have counted, also those that are no more."""
        ...

    def status(self) -> Sequence[Mapping[str, object]]:
        """Tell of each how it does, for the status page."""
        ...

    def retire(self) -> None:
        """See `Listener.retire`."""
        ...

    def busy(self) -> frozenset[object]:
        """See `Listener.busy`."""
        ...

    async def drain(self, budget: float, settle: float) -> int:
        """See `Listener.drain`."""
        ...


class Nobody:
    """No other process."""

    connections = 0

    def take(self, sock: socket.socket, peer: str, own: int) -> bool:
        del sock, peer, own
        return False

    def tally(self) -> Tally:
        return Tally()

    def status(self) -> Sequence[Mapping[str, object]]:
        return ()

    def retire(self) -> None:
        """Nobody is to be told."""

    def busy(self) -> frozenset[object]:
        return frozenset()

    async def drain(self, budget: float, settle: float) -> int:
        del budget, settle
        return 0
