"""A request's way to its formation and the response's way back: the hot path.

Straight-line code: try the socket, and wait only if it would block. What can fail is told apart
by whose fault it is: OSError is the client's socket, UpstreamError and BodyError are the
formation's. Before the response's head has gone out a failure is answered (502); after it, the
client's connection is reset, for a cut response must not look like a whole one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
import trio

from muxi.proxy import answers
from muxi.proxy.bodies import Body, BodyError, request_body, response_body
from muxi.proxy.context import Served
from muxi.proxy.headers import (
    extended_fields,
    forwarding_fields,
    interim_head,
    request_head,
    response_head,
    usable_request_id,
)
from muxi.proxy.heads import UNTIL_CLOSE, HeadError, RequestHead, ResponseHead
from muxi.proxy.http1 import parse_response_head
from muxi.proxy.upload import Upload, UploadError
from muxi.proxy.upstream import TargetPool, Upstream, UpstreamError

if TYPE_CHECKING:
    from muxi.proxy.connection import Connection
    from muxi.proxy.paths import Place
    from muxi.registry.routes import Target

log = structlog.get_logger()

HEAD_READ: Final = 16 << 10
BODY_READ: Final = 256 << 10
#: Bytes after which one transfer lets other tasks run.
TURN: Final = 1 << 20
#: Methods that may be sent again when a kept connection turns out dead (RFC 9110 9.2.2).
IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})


async def forward(client: Connection, head: RequestHead, place: Place) -> bool:
    """Serve a request that is the proxy's; tell whether the client's connection can go on."""
    context = client.context
    hook = context.on_request
    if hook is None:
        return await _serve(client, head, place, usable_request_id(head) or context.new_request_id())
    started = trio.current_time()
    request_id = usable_request_id(head) or context.new_request_id()
    try:
        return await _serve(client, head, place, request_id)
    finally:
        seconds = trio.current_time() - started
        hook(Served(place.name, head.method, head.target, client.status, seconds, client.peer, request_id))


async def _serve(client: Connection, head: RequestHead, place: Place, request_id: bytes) -> bool:
    route = place.route
    if route is None:
        return await client.refuse(answers.unknown(place.name, draft=place.draft), head)
    target = route.target
    if target is None:
        return await client.refuse(answers.unavailable(place.name, route.state, draft=place.draft), head)
    if head.upgrade == b"websocket":
        return await client.refuse(answers.NO_UPGRADE, head)
    try:
        keep = await _counted(client, head, place, target, request_id)
    except UploadError as error:
        client.drop_upstream()
        return await client.refuse(answers.Answer(400, f"Bad request: {error}"), head)
    except (UpstreamError, BodyError, HeadError) as error:
        return await _failed(client, head, place, error)
    if not keep and head.length:
        await client.linger()
    return keep


async def _counted(
    client: Connection, head: RequestHead, place: Place, target: Target, request_id: bytes
) -> bool:
    target.in_flight += 1
    client.on_hangup(client.scope.cancel)
    try:
        return await _exchange(client, head, place, target, request_id)
    finally:
        target.in_flight -= 1
        client.on_hangup(None)


async def _failed(client: Connection, head: RequestHead, place: Place, error: Exception) -> bool:
    client.context.tally.upstream_failures += 1
    client.drop_upstream()
    log.warning("upstream_failed", formation_id=place.name, reason=str(error), answered=client.status)
    if client.status:
        client.reset_on_close()
        return False
    return await client.refuse(answers.no_response(draft=place.draft), head)


async def _exchange(
    client: Connection, head: RequestHead, place: Place, target: Target, request_id: bytes
) -> bool:
    pool = client.context.upstreams.of(target)
    if client.trusted:
        ours = extended_fields(head, client.peer, client.context.version)
    else:
        ours = client.forwarding = client.forwarding or forwarding_fields(client.peer, client.context.version)
    request = request_head(head, place.target, pool.authority, ours, request_id)
    if head.length:
        body = request_body(head.length)
        request += _first_part(client, body)
        if not body.done:
            return await _exchange_uploading(client, head, pool, request, body)
        head.length = 0
    data = await _ask(client, pool, request, repeatable=head.method in IDEMPOTENT)
    return await _answer(client, head, pool, data, None)


def _first_part(client: Connection, body: Body) -> bytes:
    """Take what has come in of the body with the head."""
    if not client.buffer:
        return b""
    try:
        part = body.take(client.buffer)
    except BodyError as error:
        raise UploadError(str(error)) from error
    client.buffer = body.surplus
    return part


async def _ask(client: Connection, pool: TargetPool, request: bytes, *, repeatable: bool) -> bytes:
    """Send a whole request and wait for the first bytes of its response. Raises UpstreamError.

    A kept connection may be closed by the formation just as we use it. Only then, and only if
    doing it twice does no harm or nothing had been sent, the request is sent again on a new one.
    """
    upstream = client.upstream = pool.take()
    if upstream is not None:
        try:
            return await _first_bytes(upstream, request)
        except UpstreamError:
            client.drop_upstream()
            if upstream.sent and not repeatable:
                raise
            client.context.tally.retries += 1
    upstream = client.upstream = await pool.connect()
    return await _first_bytes(upstream, request)


async def _first_bytes(upstream: Upstream, request: bytes) -> bytes:
    await upstream.send(request)
    await trio.lowlevel.wait_readable(upstream.fd)
    data = await upstream.read(HEAD_READ)
    if not data:
        raise UpstreamError("closed without a response")
    return data


async def _exchange_uploading(
    client: Connection, head: RequestHead, pool: TargetPool, request: bytes, body: Body
) -> bool:
    """Exchange while the body is still coming in: the one case where two directions run at once.

    The connection is a new one, since a body that has gone can't be sent again.
    """
    upstream = client.upstream = await pool.connect()
    upload = Upload(client, upstream, body)
    failure: Exception | None = None
    keep = False
    # Whatever ends this request early, the rest of its body is still to come.
    client_keeps, head.keep_alive = head.keep_alive, False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(upload.run, request)
        try:
            data = await _read(upstream)
            head.keep_alive = client_keeps and upload.done
            keep = await _answer(client, head, pool, data, upload)
        except (UpstreamError, BodyError, HeadError, OSError) as error:
            failure = error
        nursery.cancel_scope.cancel()
    if upload.failure is not None and not client.status:
        raise upload.failure
    if failure is not None:
        raise failure
    return keep


async def _read(upstream: Upstream) -> bytes:
    data = await upstream.read(HEAD_READ)
    if not data:
        raise UpstreamError("closed without a response")
    return data


async def _answer(
    client: Connection, head: RequestHead, pool: TargetPool, data: bytes, upload: Upload | None
) -> bool:
    """Send the response whose first bytes are `data`; tell whether the client's connection can go on."""
    upstream = client.upstream
    assert upstream is not None
    response, data = await _final_head(client, head, upstream, data)
    length, http11 = response.length, head.http11
    keep = head.keep_alive and not client.context.draining and (http11 or length >= 0)
    top = response_head(response, http11=http11, keep_alive=keep, chunked=http11 and length < 0)
    if length == len(data):
        client.status = response.status
        await client.send(top + data)
        clean = True
    else:
        body = response_body(length, http11=http11)
        top += body.take(data)
        client.status = response.status
        await client.send(top)
        if not body.done:
            await _relay(client, upstream, body)
        clean = not body.surplus and length != UNTIL_CLOSE
    if clean and response.keep_alive and (upload is None or upload.done):
        client.upstream = None
        pool.put(upstream)
    else:
        client.drop_upstream()
    return keep


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
            raise UpstreamError("switched protocols unasked")
        if head.http11:
            await client.send(interim_head(response))


async def _relay(client: Connection, upstream: Upstream, body: Body) -> None:
    """Send on the rest of a response, each read at once. Raises UpstreamError, BodyError."""
    size, moved = HEAD_READ, 0
    while not body.done:
        data = await upstream.read(size)
        if not data:
            await client.send(body.finish())
            return
        if len(data) == size:
            size = BODY_READ
        elif len(data) < HEAD_READ:
            size = HEAD_READ
        moved += len(data)
        data = body.take(data)
        await client.send(data)
        data = b""  # A stream that has gone quiet holds no buffer.
        if moved > TURN:
            moved = 0
            await trio.lowlevel.checkpoint()
