"""A response's way to the client: the second half of the hot path, up to where a `Relay` goes on.

A response that has come whole goes out in one send. Of any other the head goes out as soon as it is
there, with what has come of the body, and each read of the rest at once after it.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

from muxi.proxy.bodies import response_body
from muxi.proxy.comments import EventBody, is_event_stream
from muxi.proxy.finish import finish
from muxi.proxy.headers import interim_head, response_head
from muxi.proxy.heads import UNTIL_CLOSE
from muxi.proxy.http1_response import parse_response_head
from muxi.proxy.relay import Relay
from muxi.proxy.tunnel import run_tunnel
from muxi.proxy.upstream import UpstreamError

if TYPE_CHECKING:
    from muxi.proxy.bodies import Body
    from muxi.proxy.connection import Connection
    from muxi.proxy.heads import RequestHead, ResponseHead
    from muxi.proxy.upstream import Upstream

HEAD_READ: Final = 16 << 10


async def respond(client: Connection, head: RequestHead, upstream: Upstream, data: bytes) -> bool | Relay:
    """Send the response whose first bytes are `data`.

    Tells whether the client's connection can go on, or gives the relay that passes on the rest.
    """
    response = parse_response_head(data, head.method)
    if response is None or response.status < 200:
        response, data = await _final_head(client, head, upstream, data)
        if response.status == 101:
            await run_tunnel(client, upstream, response, data)
            return False
    else:
        data = data[response.size :]
    traffic = client.route.traffic
    traffic.first_byte.add(perf_counter() - head.begun)
    finished = finish(client, head, response, whole=response.length == len(data))
    if finished is not response:
        response, data = finished, b""
    length, http11 = response.length, head.http11
    keep = head.keep_alive and not client.context.draining and (http11 or length >= 0)
    top = response_head(response, http11=http11, keep_alive=keep, chunked=http11 and length < 0)
    if length != len(data):
        return _relay(client, head, response, top, data, keep=keep)
    client.status = response.status
    traffic.bytes_out += length
    if not client.offer(top + data):
        await client.flush()
    client.release(upstream, reusable=response.keep_alive)
    return keep


def _relay(
    client: Connection, head: RequestHead, response: ResponseHead, top: bytes, data: bytes, *, keep: bool
) -> Relay:
    """Make what sends a response that did not come in one piece."""
    body = _body(client, response, http11=head.http11)
    events = response.length < 0 and is_event_stream(response)
    data = body.take(data)
    client.route.traffic.bytes_out += len(data)
    client.status = response.status
    head.fields.clear()  # It may take hours: nothing is kept that is not needed.
    relay = Relay(client, body, top + data, events=events and not body.done)
    if events and data:
        client.route.traffic.first_event.add(perf_counter() - head.begun)
    elif events:
        relay.begun = head.begun
    relay.keep, relay.reusable = keep, response.keep_alive and response.length != UNTIL_CLOSE
    return relay


def _body(client: Connection, response: ResponseHead, *, http11: bool) -> Body:
    length = response.length
    if length < 0 and client.route.policy.stream_ping and is_event_stream(response, plain=True):
        return EventBody(client, length, http11=http11)
    return response_body(length, http11=http11)


async def _final_head(
    client: Connection, head: RequestHead, upstream: Upstream, data: bytes
) -> tuple[ResponseHead, bytes]:
    """Read up to the final response's head, passing interim ones on; also what came after it."""
    while True:
        response = parse_response_head(data, head.method)
        if response is None:
            more = await upstream.read(HEAD_READ)
            if not more:
                raise UpstreamError("closed within the response head")
            data += more
            continue
        data = data[response.size :]
        if response.status >= 200:
            return response, data
        if response.status == 101:
            if head.upgrade is None:
                raise UpstreamError("switched protocols unasked")
            return response, data
        if head.http11:
            await client.send(interim_head(response))
