"""A formation that echoes WebSocket messages (RFC 6455), fragment by fragment, compressed if asked to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Ping, Request, TextMessage
from wsproto.extensions import PerMessageDeflate
from wsproto.utilities import RemoteProtocolError

if TYPE_CHECKING:
    from tests.proxy.house import Wire

OPEN = {ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING}
#: LOCAL_CLOSING: what came was no WebSocket any more, and the client has been told.
OVER = {ConnectionState.LOCAL_CLOSING, ConnectionState.CLOSED, ConnectionState.REJECTING}


async def echo(wire: Wire) -> None:
    """Serve one connection to its end."""
    connection = WSConnection(ConnectionType.SERVER)
    while connection.state not in OVER:
        data = await wire.receive()
        try:
            connection.receive_data(data or None)
            answer = b"".join([reply(connection, event) for event in connection.events()])
        except RemoteProtocolError as error:
            # What came before the error is part of the conversation.
            answer = connection.send(error.event_hint) if error.event_hint is not None else b""
            await wire.send(answer)
            return
        await wire.send(answer)
        if not data:
            return


def reply(connection: WSConnection, event: Event) -> bytes:
    """What to send in answer to an event."""
    if isinstance(event, Request):
        return connection.send(AcceptConnection(extensions=[PerMessageDeflate()]))
    if isinstance(event, TextMessage):
        return connection.send(TextMessage(event.data, message_finished=event.message_finished))
    if isinstance(event, BytesMessage):
        return connection.send(BytesMessage(event.data, message_finished=event.message_finished))
    if isinstance(event, (Ping, CloseConnection)) and connection.state in OPEN:
        return connection.send(event.response())
    return b""
