"""Who asked: the address behind proxies that are trusted, and the fields that tell it on.

A trusted proxy adds to the right of the chain, so the chain is believed from the right: the first
address that is no trusted proxy's is the client's. What stands left of it anybody may have written.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from muxi.proxy.connection import Connection
    from muxi.proxy.heads import RequestHead

#: Elements of a Forwarded field, and the pairs of one, minding quoted strings (RFC 7239 4).
_ELEMENT: Final = re.compile(rb'(?:[^",]|"(?:[^"\\]|\\.)*")+')
_FOR: Final = re.compile(rb'(?:^|;)[ \t]*for[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;"\s]*))', re.IGNORECASE)
_NODE: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9A-Za-z._-]+)?|([0-9.]+)(?::[0-9A-Za-z._-]+)?")


class Trust:
    """Tells whether an address is in one of some networks."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def __call__(self, address: str) -> bool:
        if not self._networks:
            return False
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._networks)


def peer_address(address: str) -> str:
    """Give a socket's address without a zone, IPv4 also where it is mapped to IPv6."""
    return address.removeprefix("::ffff:") if "." in address else address.partition("%")[0]


def asker(client: Connection, head: RequestHead) -> str:
    """Give the address that a request is from, behind all trusted proxies."""
    if not client.trusted:
        return client.peer
    return client_address(head, client.peer, client.context.trusts)


def plain_address(node: str) -> str | None:
    """Give the address of a node: without port, brackets and zone, IPv4 also where mapped to IPv6.

    None where it is hidden or no address (`unknown`, `_gateway`).
    """
    match = _NODE.fullmatch(node.strip())
    text = (match[1] or match[2]) if match is not None else node.strip().partition("%")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def client_address(head: RequestHead, peer: str, trusts: Callable[[str], bool]) -> str:
    """Give the address of who asked, as far as the trusted peer `peer` and those behind it know it."""
    nearest = peer
    for node in reversed(_chain(head)):
        address = plain_address(node.decode("latin-1"))
        if address is None:
            break
        nearest = address
        if not trusts(address):
            break
    return nearest


def extended_fields(
    head: RequestHead, peer: str, version: bytes, trusts: Callable[[str], bool], scheme: bytes
) -> bytes:
    """Give the fields that say who asked, as a trusted peer tells it, the peer itself added.

    `scheme` is that of the peer's connection. X-Forwarded-Host is written elsewhere.
    """
    lines = [
        b"X-Forwarded-For: " + b", ".join([*_chain(head), peer.encode()]),
        b"X-Real-IP: " + client_address(head, peer, trusts).encode(),
        b"X-Forwarded-Proto: " + (head.forwarded_proto or scheme),
        b"X-Muxi-Server: " + version,
    ]
    if head.forwarded_port is not None:
        lines.append(b"X-Forwarded-Port: " + head.forwarded_port)
    if head.forwarded is not None:
        node = f'"[{peer}]"' if ":" in peer else peer
        lines.append(
            b'Forwarded: %b, for=%b;host="%b";proto=%b' % (head.forwarded, node.encode(), head.host, scheme)
        )
    return b"\r\n".join(lines)


def _chain(head: RequestHead) -> list[bytes]:
    """Give the nodes that the request says it came through, the client's first."""
    if head.forwarded_for is not None:
        return [part.strip() for part in head.forwarded_for.split(b",") if part.strip()]
    if head.forwarded is None:
        return []
    found = (_FOR.search(element) for element in _ELEMENT.findall(head.forwarded))
    return [(match[1] or match[2] or b"unknown") if match is not None else b"unknown" for match in found]
