"""References to the formation itself, made to lead back through the proxy.

A formation knows its own address and paths; a client knows neither. So a `Location` that points to
the formation, by its address or by the one the client used or by a path alone, becomes a path below
the public prefix. It stays without scheme and host, which a client takes from its request
(RFC 9110 10.2.2): so it is right behind any number of other proxies. What points elsewhere, or is
relative to the request's path, is the formation's business.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from muxi.registry.routes import Target

_NAMES: Final = frozenset({b"location", b"content-location"})
_ABSOLUTE: Final = re.compile(rb"(?:https?:)?//([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_LOOPBACK: Final = (b"localhost", b"127.0.0.1", b"[::1]", b"0.0.0.0")


def rewrite(fields: list[bytes], formation_id: bytes, asked: bytes, host: bytes, target: Target) -> None:
    """Rewrite the references among a response's field lines, in place.

    `asked` is the request target as the client sent it, `host` the authority it used.
    """
    own = own_authorities(target) | ({host.lower()} if host else frozenset())
    for index, line in enumerate(fields):
        name, _, value = line.partition(b":")
        if name.lower() in _NAMES:
            fields[index] = name + b": " + public_reference(value.strip(b" \t"), formation_id, asked, own)


def public_reference(reference: bytes, formation_id: bytes, asked: bytes, own: frozenset[bytes]) -> bytes:
    """Give a formation's reference as the client needs it; `own` are the formation's authorities. Pure."""
    path = reference
    match = _ABSOLUTE.match(reference)
    if match is not None:
        if match[1].lower() not in own:
            return reference
        path = match[2] if match[2].startswith(b"/") else b"/" + match[2]
    elif not reference.startswith(b"/"):
        return reference
    is_mcp = asked.startswith(b"/mcp/")
    prefix = (b"/draft/" if asked.startswith(b"/draft/") else b"/api/") + formation_id
    if _is_below(path, prefix) or (is_mcp and _is_below(path, b"/mcp/" + formation_id)):
        return reference
    if is_mcp and _is_below(path, b"/mcp"):
        # The proxy puts one /mcp before what follows the id, unless there is one already.
        rest = path[4:]
        return b"/mcp/" + formation_id + (path if _is_below(rest, b"/mcp") else rest)
    return prefix + path


def own_authorities(target: Target) -> frozenset[bytes]:
    """Give the names under which a formation may know itself."""
    host = target.host.lower().encode()
    hosts = {*_LOOPBACK, b"[%b]" % host if b":" in host else host}
    return frozenset(b"%b:%d" % (name, target.port) for name in hosts)


def _is_below(path: bytes, prefix: bytes) -> bool:
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in {b"", b"/", b"?", b"#"}
