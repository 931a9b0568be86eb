"""Answers for browsers, where a formation gives none: any web site may call it (Fetch, CORS protocol).

Nothing here allows credentials: what a web site sends it has to know itself, such as a client key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from muxi.proxy.heads import ResponseHead

if TYPE_CHECKING:
    from muxi.proxy.heads import RequestHead

ALLOW_ANY: Final = b"Access-Control-Allow-Origin: *"
#: How a formation says that it does not know of OPTIONS.
_UNKNOWING: Final = frozenset({404, 405, 501})
_ASKED_METHOD: Final = b"access-control-request-method"
_ASKED_HEADERS: Final = b"access-control-request-headers"


def allow(head: RequestHead, response: ResponseHead, *, whole: bool) -> ResponseHead:
    """Let any site read a response whose formation said nothing about it; give it back.

    A preflight that the formation does not know of is answered for it, by another response. `whole`:
    all of the formation's has been read, so that its connection can be used again.
    """
    asked = _asked(head) if head.method == b"OPTIONS" else None
    if asked is not None:
        if response.status in _UNKNOWING:
            response = _in_place_of(response, whole=whole)
            response.fields += asked
        elif response.status < 300:
            response.fields += asked
    response.fields.append(ALLOW_ANY)
    return response


def _in_place_of(response: ResponseHead, *, whole: bool) -> ResponseHead:
    answer = ResponseHead(204, b"204 No Content", True, 0)
    answer.length = 0
    answer.keep_alive = whole and response.keep_alive
    return answer


def _asked(head: RequestHead) -> list[bytes] | None:
    """Allow what a preflight asks for; None if it is no preflight."""
    values: dict[bytes, bytes] = {}
    for line in head.fields:
        name, _, value = line.partition(b":")
        values[name.lower()] = value.strip(b" \t")
    if _ASKED_METHOD not in values or b"origin" not in values:
        return None
    lines = [b"Access-Control-Allow-Methods: " + values[_ASKED_METHOD]]
    if _ASKED_HEADERS in values:
        lines.append(b"Access-Control-Allow-Headers: " + values[_ASKED_HEADERS])
    return [
        *lines,
        b"Access-Control-Max-Age: 600",
        b"Vary: Access-Control-Request-Method, Access-Control-Request-Headers",
    ]
