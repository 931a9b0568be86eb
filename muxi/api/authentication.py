"""Who is asking: checked for every management route before its body is read or its handler runs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from quart import request

from muxi.api.exchange import current
from muxi.api.routing import route_of
from muxi.auth.scheme import parse_authorization
from muxi.errors import Unauthorized
from muxi.formation.identifier import id_problem

if TYPE_CHECKING:
    from muxi.api.parts import ApiParts


class Guard:
    """Stands before every route: notes what is asked for, then lets it pass or raises."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

    async def check(self) -> None:
        """Raise Unauthorized unless the request is signed, or its route is public.

        A path that matches no route passes, to its 404 or 405: those say nothing of formations.
        """
        route = route_of(request.url_rule)
        exchange = current()
        exchange.route = route
        formation_id = (request.view_args or {}).get("formation_id")
        if formation_id is not None and id_problem(formation_id) is None:
            exchange.formation = formation_id
        authenticator = self._parts.authenticator
        if route is None or not route.startswith("/rpc/") or authenticator is None:
            return
        authorization = request.headers.get("Authorization")
        try:
            exchange.key_id = authenticator.authenticate(
                authorization, request.method, _raw_path(), self._parts.now()
            )
        except Unauthorized:
            exchange.key_id = _claimed(authorization, self._parts.settings.known_keys)
            raise


def _raw_path() -> bytes:
    """Return the path as it came on the wire, which is what clients sign."""
    raw: bytes | None = request.scope.get("raw_path")  # ASGI lets a server leave it out
    return quote(request.path).encode() if raw is None else raw


def _claimed(authorization: str | None, known: frozenset[str]) -> str | None:
    """Return the key id that a refused request names, if it is one of ours: an audit line may hold it."""
    credentials = parse_authorization(authorization or "")
    return credentials.key if credentials is not None and credentials.key in known else None
