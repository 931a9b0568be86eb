"""Hypercorn's server of one connection, told what it would else ask a socket for.

The listener knows the client's address, whether the connection is encrypted, and which protocol is
spoken. So streams need to be no sockets, and no session changes its protocol half-way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.typing import ConnectionState, LifespanState

from muxi.proxy.http2 import Http2

if TYPE_CHECKING:
    import trio
    from hypercorn.config import Config
    from hypercorn.protocol import ProtocolWrapper
    from hypercorn.typing import AppWrapper

    from muxi.proxy.connection import Connection
    from muxi.proxy.session import RequestStream, SessionContext, WholeStream


class Engine(TCPServer):
    """Runs one session for `client` on `stream`, by HTTP/1.1 or, with `http2`, by HTTP/2."""

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: SessionContext,
        client: Connection,
        stream: RequestStream | WholeStream,
        *,
        http2: bool,
    ) -> None:
        # A few methods of the stream are all that is used; ours have them.
        super().__init__(
            app, config, context, LifespanState({}), cast("trio.SSLStream[trio.SocketStream]", stream)
        )
        self.client = client
        self._http2 = http2

    async def run(self) -> None:
        """Serve to the end of the stream. Raises what Hypercorn lets escape: see `Handover`."""
        try:
            # Before the group: who has left by now is an OSError, and not a group of one.
            ends = self.client.sock.getpeername(), self.client.sock.getsockname()
            async with TaskGroup() as group:
                self._task_group = group
                # All that it is asked for is what both protocols have themselves.
                self.protocol = cast("ProtocolWrapper", self._new_protocol(group, *ends))
                await self.protocol.initiate()
                await self.idle_task.restart(group, self._idle_timeout)
                await self._read_data()
        except OSError:
            return
        finally:
            await self._close()

    def _new_protocol(self, group: TaskGroup, remote: object, local: object) -> H11Protocol | Http2:
        client, kind = self.client, Http2 if self._http2 else H11Protocol
        return kind(
            self.app,
            self.config,
            self.context,
            group,
            ConnectionState(self.state),
            client.scheme == b"https",
            (client.peer, _port(remote)),
            (_host(local), _port(local)),
            self.protocol_send,
        )


def _host(address: object) -> str:
    return str(address[0]) if isinstance(address, tuple) else ""


def _port(address: object) -> int:
    return int(address[1]) if isinstance(address, tuple) else 0
