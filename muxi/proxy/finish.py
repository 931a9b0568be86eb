"""What a formation's response gets from us before it goes out: little, and only where it is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxi.proxy import cors, redirects

if TYPE_CHECKING:
    from muxi.proxy.connection import Connection
    from muxi.proxy.heads import RequestHead, ResponseHead


def finish(client: Connection, head: RequestHead, response: ResponseHead, *, whole: bool) -> ResponseHead:
    """Complete the fields of a response: who may read it, the request's id, where it leads.

    Gives it back, or another one that has no body to be sent in its place. `whole`: all of it has
    been read.
    """
    if not response.allows_origin and client.route.policy.cors:
        response = cors.allow(head, response, whole=whole)
    if not response.has_id and head.request_id is not None:
        response.fields.append(b"X-Request-ID: " + head.request_id)
    if response.relocates:
        assert client.target is not None
        formation_id = client.route.formation_id.encode()
        redirects.rewrite(response.fields, formation_id, head.target, head.host, client.target)
    if head.sdk is not None and client.context.latest is not None:
        _tell_latest(client, head, response)
    return response


def _tell_latest(client: Connection, head: RequestHead, response: ResponseHead) -> None:
    """Tell an SDK of its newest release (http-api.md 6); the contract has it for /api and /draft only."""
    assert client.context.latest is not None
    assert head.sdk is not None
    name, slash, version = head.sdk.partition(b"/")
    if not slash or not version or head.target.startswith(b"/mcp/"):
        return
    latest = client.context.latest(name, version)
    if latest is not None:
        response.fields.append(b"X-Muxi-SDK-Latest: " + latest)
