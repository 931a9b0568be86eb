"""A response's way to the client: the second half of the hot path.

The head goes out as soon as it is there, and each read of the body at once after it. A stream that
has gone quiet waits in few frames that hold little: there may be ten thousand of them.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

import trio

from muxi.proxy.bodies import response_body
from muxi.proxy.comments import EventBody, is_event_stream, open_stream
from muxi.proxy.disconnect import discard
from muxi.proxy.finish import finish
from muxi.proxy.headers import interim_head, response_head
from muxi.proxy.heads import UNTIL_CLOSE
from muxi.proxy.http1 import parse_response_head
from muxi.proxy.tunnel import run_tunnel
from muxi.proxy.upstream import UpstreamError

if TYPE_CHECKING:
    from muxi.proxy.bodies import Body
    from muxi.proxy.connection import Connection
    from muxi.proxy.heads import RequestHead, ResponseHead
    from muxi.proxy.upload import Upload
    from muxi.proxy.upstream import TargetPool, Upstream

HEAD_READ: Final = 16 << 10
BODY_READ: Final = 256 << 10
#: Bytes after which one transfer lets other tasks run.
TURN: Final = 1 << 20


async def read_first(upstream: Upstream) -> bytes:
    """Read the first bytes of a response. Raises UpstreamError when there are none."""
    data = await upstream.read(HEAD_READ)
    if not data:
        raise UpstreamError("closed without a response")
    return data


async def respond(
    client: Connection, head: RequestHead, pool: TargetPool, data: bytes, upload: Upload | None
) -> bool:
    """Send the response whose first bytes are `data`; tell whether the client's connection can go on."""
    upstream = client.upstream
    assert upstream is not None
    response, data = await _final_head(client, head, upstream, data)
    if response.status == 101:
        assert client.target is not None
        await run_tunnel(client, upstream, client.target, response, data)
        return False
    traffic = client.route.traffic
    traffic.first_byte.add(perf_counter() - head.begun)
    finished = finish(client, head, response, whole=response.length == len(data))
    if finished is not response:
        response, data = finished, b""
    length, http11 = response.length, head.http11
    keep = head.keep_alive and not client.context.draining and (http11 or length >= 0)
    top = response_head(response, http11=http11, keep_alive=keep, chunked=http11 and length < 0)
    if length == len(data):
        client.status = response.status
        traffic.bytes_out += length
        await client.send(top + data)
        clean = True
    else:
        body = _body(client, response, http11=http11)
        events = length < 0 and is_event_stream(response)
        data = body.take(data)
        traffic.bytes_out += len(data)
        client.status = response.status
        top, seen = top + data, bool(data)
        data = b""  # From here on it may take hours: nothing is kept that is not needed.
        head.fields.clear()
        response.fields.clear()
        clean = await _send_long(client, top, body, head.begun if events else 0.0, seen=seen)
        clean = clean and length != UNTIL_CLOSE
    if clean and response.keep_alive and (upload is None or upload.done):
        client.upstream = None
        pool.put(upstream)
    else:
        client.drop_upstream()
    return keep


def _body(client: Connection, response: ResponseHead, *, http11: bool) -> Body:
    length = response.length
    if length < 0 and client.route.policy.stream_ping and is_event_stream(response, plain=True):
        return EventBody(client, length, http11=http11)
    return response_body(length, http11=http11)


async def _send_long(client: Connection, top: bytes, body: Body, begun: float, *, seen: bool) -> bool:
    """Send a response that did not come in one piece; tell whether its connection is clean after it.

    `begun`: of an event stream, when its request began, else 0; `seen`: its first event is in `top`.
    """
    upstream, policy = client.upstream, client.route.policy
    assert upstream is not None
    try:
        await client.send(top)
        top = b""
        if body.done:
            pass
        elif begun:
            if seen:
                client.route.traffic.first_event.add(perf_counter() - begun)
            with open_stream(client, body):
                await _relay(client, upstream, body, policy.stream_idle_timeout, 0.0 if seen else begun)
        else:
            await _relay(client, upstream, body, policy.response_idle_timeout)
    except OSError:
        if policy.on_disconnect == "continue":
            await discard(client, upstream, body)
        raise
    return not body.surplus


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


async def _relay(
    client: Connection, upstream: Upstream, body: Body, silence: float, begun: float = 0.0
) -> None:
    """Send on the rest of a response, each read at once. Raises UpstreamError, BodyError.

    `silence`: for how many seconds the formation may send nothing; 0: for ever. `begun`: of an
    event stream whose first event is still to come, when its request began.
    """
    size, moved, traffic = HEAD_READ, 0, client.route.traffic
    client.allow_silence(silence)
    quiet = False
    while not body.done:
        if quiet:
            # A read would fail: what there was has been read. To try costs more than to wait.
            await trio.lowlevel.wait_readable(upstream.fd)
        data = await upstream.read(size)
        quiet = len(data) < size
        if silence:
            client.allow_silence(silence)
        if not data:
            await client.send(body.finish())
            return
        if begun:
            traffic.first_event.add(perf_counter() - begun)
            begun = 0.0
        if len(data) == size:
            size = BODY_READ
        elif len(data) < HEAD_READ:
            size = HEAD_READ
        moved += len(data)
        data = body.take(data)
        traffic.bytes_out += len(data)
        await client.send(data)
        data = b""  # A stream that has gone quiet holds no buffer.
        if moved > TURN:
            moved = 0
            await trio.lowlevel.checkpoint()
