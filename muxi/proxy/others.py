"""Who serves the requests that are not the proxy's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from muxi.proxy.connection import Connection
    from muxi.proxy.heads import RequestHead


class Others(Protocol):
    """The management application (`Handover`), or the process that has it."""

    async def serve(self, client: Connection, head: RequestHead) -> bool:
        """Serve one request; tell whether the client's connection can go on."""
        ...

    async def pass_through(self, client: Connection) -> None:
        """Serve an HTTP/2 connection to its end."""
        ...

    def drain(self) -> None:
        """Ask connections that are served to their end here to end after their present requests."""
        ...
