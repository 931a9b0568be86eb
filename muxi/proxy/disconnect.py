"""What becomes of a request whose client leaves.

By default it is cancelled at once, and the formation sees its connection close. TCP can't tell a
client that has left from one that has only closed its sending side, so both count as gone, as with
Go's net/http and with nginx. A formation may say `on_disconnect: continue`: then nothing is
cancelled, whoever has closed one side only gets the answer, and where sending it fails the rest is
read and dropped, until the formation has finished or `continue_timeout` is over.

A request whose body has not come whole ends in any case: nobody can finish it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from muxi.proxy.bodies import Body
    from muxi.proxy.connection import Connection
    from muxi.proxy.upstream import Upstream
    from muxi.registry.routes import Route

READ: Final = 64 << 10


def goes_on(route: Route) -> bool:
    """Tell whether this formation's requests outlive their clients."""
    return route.policy.on_disconnect == "continue"


async def discard(client: Connection, upstream: Upstream, body: Body) -> None:
    """Read the rest of a response that nobody takes. Raises UpstreamError, BodyError."""
    client.carry_on()
    while not body.done:
        data = await upstream.read(READ)
        if not data:
            body.finish()
            return
        body.take(data)
