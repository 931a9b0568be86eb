"""A request's way to its formation: the first half of the hot path; `respond` is the way back.

Straight-line code: try the socket, and wait only if it would block. What can fail is told apart
by whose fault it is: OSError is the client's socket, UpstreamError and BodyError are the
formation's. Before the response's head has gone out a failure is answered (502); after it, the
client's connection is reset, for a cut response must not look like a whole one.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

import structlog
import trio

from muxi.proxy import admission, answers
from muxi.proxy.bodies import Body, BodyError, request_body
from muxi.proxy.context import Served
from muxi.proxy.gate import hold, refusal
from muxi.proxy.headers import forwarding_fields, request_head, usable_request_id
from muxi.proxy.heads import HeadError, RequestHead
from muxi.proxy.respond import respond
from muxi.proxy.trace import new_parent
from muxi.proxy.trust import asker, extended_fields
from muxi.proxy.tunnel import prepare
from muxi.proxy.upload import Upload, UploadError
from muxi.proxy.upstream import TargetPool, Unreachable, Upstream, UpstreamError

if TYPE_CHECKING:
    from muxi.proxy.connection import Connection
    from muxi.proxy.context import Context
    from muxi.proxy.paths import Place
    from muxi.proxy.relay import Relay
    from muxi.registry.routes import Route, Target

log = structlog.get_logger()

NEVER: Final = float("inf")
#: Methods that may be sent again when a kept connection turns out dead (RFC 9110 9.2.2).
IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})


async def forward(client: Connection, head: RequestHead, place: Place) -> bool:
    """Serve a request that is the proxy's; tell whether the client's connection can go on."""
    context, route = client.context, place.route
    head.request_id = _identify(head, context)
    head.begun = perf_counter()
    if route is None:
        keep = await client.refuse(answers.unknown(place.name, draft=place.draft), head)
        if context.on_request is not None:
            _report(client, head, place)
        return keep
    client.route = route
    traffic, tally = route.traffic, context.tally
    traffic.in_flight += 1
    tally.in_flight += 1
    try:
        answer = await _answer(client, head, place, route)
        # A long answer goes on here, with all frames gone that it took to come to it.
        keep = answer if isinstance(answer, bool) else await answer.run()
    except (UpstreamError, BodyError, HeadError) as error:
        return await _failed(client, head, place, error)
    else:
        if not keep and head.length:
            _leave(client)
            await client.linger()
        return keep
    finally:
        _leave(client)
        traffic.in_flight -= 1
        tally.in_flight -= 1
        traffic.statuses[client.status // 100] += 1
        if client.gone and client.status != 101:  # A tunnel's FIN is no leaving.
            traffic.cancelled += 1
        if context.on_request is not None:
            _report(client, head, place)


def _identify(head: RequestHead, context: Context) -> bytes:
    """Give the request's id, the client's own or a new one; begin a trace if the client has not."""
    given = usable_request_id(head) if head.request_id is not None else None
    if head.traced:
        if head.trace_state is not None:
            head.fields += head.trace_state
        return given or context.new_request_id()
    unique = context.new_request_id()
    head.fields.append(new_parent(unique))
    return given or unique


def _report(client: Connection, head: RequestHead, place: Place) -> None:
    hook, seconds = client.context.on_request, perf_counter() - head.begun
    assert hook is not None
    request_id = head.request_id or b""
    peer = asker(client, head)
    hook(Served(place.name, head.method, head.target, client.status, seconds, peer, request_id))


async def _answer(client: Connection, head: RequestHead, place: Place, route: Route) -> bool | Relay:
    """Get an answer and send what there is of it: see `respond`. Raises what `forward` tells apart."""
    if route.limited or client.context.limits.max_concurrent:
        over = admission.refusal(client.context, route, head)
        if over is not None:
            return await client.refuse(over, head)
    target = route.target
    if target is None:
        target = await hold(client, route)
    if head.upgrade is not None:
        await prepare(client, head)
    buffer, length = client.buffer, head.length
    while target is not None:
        _enter(client, head, target)
        try:
            return await _exchange(client, head, place, target)
        except Unreachable as error:
            _leave(client)
            route.traffic.connect_errors += 1
            # Nothing has been sent: it can go to the process that comes next, as if it had been held.
            client.buffer, head.length = buffer, length
            target = await hold(client, route, target)
            if target is None and route.target is not None:
                return await _failed(client, head, place, error)
        except UploadError as error:
            _leave(client)
            client.drop_upstream()
            return await client.refuse(answers.Answer(error.status, f"Bad request: {error}"), head)
    return await client.refuse(refusal(place, route), head)


def _enter(client: Connection, head: RequestHead, target: Target) -> None:
    policy = client.route.policy
    target.in_flight += 1
    client.target = target
    client.on_hangup(client.scope.cancel if policy.on_disconnect == "cancel" else client.carry_on)
    if policy.response_idle_timeout and not head.length:
        client.allow_silence(policy.response_idle_timeout)


def _leave(client: Connection) -> None:
    target = client.target
    if target is None:
        return
    target.in_flight -= 1
    if target.drain_deadline is not None:
        target.emptied()
    client.target = None
    client.response_deadline = NEVER
    client.on_hangup(None)


async def _failed(client: Connection, head: RequestHead, place: Place, error: Exception) -> bool:
    _leave(client)
    client.context.tally.upstream_failures += 1
    client.route.traffic.upstream_failures += 1
    client.drop_upstream()
    log.warning("upstream_failed", formation_id=place.name, reason=str(error), answered=client.status)
    if client.status:
        client.reset_on_close()
        return False
    return await client.refuse(answers.no_response(draft=place.draft), head)


async def _exchange(client: Connection, head: RequestHead, place: Place, target: Target) -> bool | Relay:
    context = client.context
    pool = context.upstreams.of(target)
    if client.trusted:
        head.host = head.forwarded_host or head.host
        ours = extended_fields(head, client.peer, context.version, context.trusts, client.scheme)
    else:
        ours = client.forwarding = client.forwarding or forwarding_fields(
            client.peer, context.version, client.scheme
        )
    request = request_head(head, place.target, pool.authority, ours)
    if head.length:
        body = request_body(head.length, client.route.policy.max_body)
        request += _first_part(client, body)
        if not body.done:
            return await _exchange_uploading(client, head, pool, request, body)
        head.length = 0
    if head.upgrade is None:
        upstream, data = await _ask(client, pool, request, repeatable=head.method in IDEMPOTENT)
    else:
        upstream, data = await _ask_anew(client, pool, request)
    return await respond(client, head, upstream, data)


def _first_part(client: Connection, body: Body) -> bytes:
    """Take what has come in of the body with the head."""
    if not client.buffer:
        return b""
    try:
        part = body.take(client.buffer)
    except BodyError as error:
        raise UploadError(error) from error
    client.buffer = body.surplus
    client.route.traffic.bytes_in += len(part)
    return part


async def _ask(
    client: Connection, pool: TargetPool, request: bytes, *, repeatable: bool
) -> tuple[Upstream, bytes]:
    """Send a whole request and wait for the first bytes of its response. Raises UpstreamError.

    A kept connection may be closed by the formation just as we use it. Only then, and only if
    doing it twice does no harm or nothing had been sent, the request is sent again on a new one.
    """
    upstream = client.upstream = pool.take(repeatable=repeatable)
    if upstream is not None:
        try:
            await upstream.send(request)
            return upstream, await upstream.first()
        except UpstreamError:
            client.drop_upstream()
            if upstream.sent and not repeatable:
                raise
            client.context.tally.retries += 1
            client.route.traffic.retries += 1
    try:
        return await _ask_anew(client, pool, request)
    except Unreachable as error:
        if upstream is not None and upstream.sent:
            # It may be what the process died of; it gets no third one.
            raise UpstreamError(str(error)) from error
        raise


async def _ask_anew(client: Connection, pool: TargetPool, request: bytes) -> tuple[Upstream, bytes]:
    upstream = client.upstream = await pool.connect()
    await upstream.send(request)
    return upstream, await upstream.first()


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
            data = await upstream.first()
            head.keep_alive = client_keeps and upload.done
            answer = await respond(client, head, upstream, data)
            keep = answer if isinstance(answer, bool) else await answer.run()
        except (UpstreamError, BodyError, HeadError, OSError) as error:
            failure = error
        nursery.cancel_scope.cancel()
    if upload.failure is not None and not client.status:
        raise upload.failure
    if failure is not None:
        raise failure
    return keep
