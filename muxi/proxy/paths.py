"""Whose request it is: `/api/{id}`, `/draft/{id}` and `/mcp/{id}` are the proxy's, by raw bytes.

Nothing is decoded or cleaned: what follows the prefix reaches the formation byte for byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from muxi.registry.routes import Route, RouteTable


class Place(NamedTuple):
    """Where a request goes: the id as sent, its route if there is one, the target to ask for there."""

    id: bytes
    route: Route | None
    target: bytes
    draft: bool

    @property
    def name(self) -> str:
        """The id as text, for messages."""
        return self.id.decode("utf-8", "replace")


def find_place(routes: RouteTable, target: bytes) -> Place | None:
    """Look a request target up; None if it is not the proxy's, or not this process's."""
    if target.startswith(b"/api/"):
        key, rest = _split(target, 5)
        table, draft = routes.live, False
    elif target.startswith(b"/mcp/"):
        key, rest = _split(target, 5)
        table, draft, rest = routes.live, False, _mcp_target(rest)
    elif target.startswith(b"/draft/"):
        key, rest = _split(target, 7)
        table, draft = routes.draft, True
    else:
        return None
    if not key:
        return None
    route = table.get(key)
    if route is not None and not route.here:
        return None
    return Place(key, route, rest if rest.startswith(b"/") else b"/" + rest, draft)


def _split(target: bytes, start: int) -> tuple[bytes, bytes]:
    """Split into the id and what follows it: nothing, or from its slash or question mark on."""
    path = target.partition(b"?")[0]
    end = path.find(b"/", start)
    if end < 0:
        end = len(path)
    return target[start:end], target[end:]


def _mcp_target(rest: bytes) -> bytes:
    """Put the runtime's `/mcp` before the rest, unless the client has written it already."""
    if rest == b"/mcp" or rest.startswith((b"/mcp/", b"/mcp?")):
        return rest
    return b"/mcp" + rest
