"""Listening sockets, a good answer when they can't be had, and descriptors enough for clients."""

from __future__ import annotations

import errno
import os
import resource
import socket
import sys

from muxi.errors import OperatorError
from muxi.proxy.occupant import find_occupant

BACKLOG = 4096


def open_listeners(host: str, port: int) -> list[socket.socket]:
    """Listen on every address of `host`; with port 0, on one port that the system chooses.

    "0.0.0.0" is every IPv4 address, "::" every address of both kinds. Resolves names, so call it
    before the event loop runs. Raises OperatorError.
    """
    sockets: list[socket.socket] = []
    try:
        for family, address in _addresses(host, port):
            chosen = sockets[0].getsockname()[1] if sockets and port == 0 else port
            sockets.append(_listen(family, (address, chosen)))
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise _explain(error, host, port) from error
    return sockets


def adopt_listener(fd: int) -> socket.socket:
    """Make a socket of a descriptor that another program opened, and listens on, for us.

    Raises OperatorError, and leaves the descriptor open, when it is no such thing.
    """
    try:
        # A second descriptor, so that what is not for us is not closed with the object.
        with socket.socket(fileno=os.dup(fd)) as found:
            listens = bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
            usable = listens and found.family in {socket.AF_INET, socket.AF_INET6}
    except OSError:
        usable = False
    if not usable:
        raise OperatorError(
            f"Descriptor {fd}, which was passed to this program, is not a TCP socket that listens.",
            code="PortUnavailable",
            cure="Let the socket unit have ListenStream= with an address or a port, and Accept=no.",
        )
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)  # noqa: S104
    # A name may give the same address twice.
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _listen(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if sys.platform != "win32":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
        sock.bind(address)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _explain(error: OSError, host: str, port: int) -> OperatorError:
    another = "choose another port: --port, MUXI_PORT, or server.port in the configuration"
    if isinstance(error, socket.gaierror):
        message, cure = f"The host {host!r} is not known.", "Set server.host to an address of this machine."
    elif error.errno == errno.EADDRINUSE:
        by = find_occupant(port)
        message = f"Port {port} is taken" + (f" by {by}." if by else " by another program.")
        cure = f"Stop that program, or {another}."
    elif error.errno == errno.EACCES:
        message = f"Port {port} may not be opened by this user."
        cure = f"Ports below 1024 need a privilege; {another}."
    elif error.errno == errno.EADDRNOTAVAIL:
        message = f"This machine has no address {host!r}."
        cure = "Set server.host to an address of this machine, or to 0.0.0.0 for all of them."
    else:
        message, cure = f"Port {port} of {host!r} can't be opened: {error.strerror}.", f"You may {another}."
    return OperatorError(message, code="PortUnavailable", cure=cure, details={"host": host, "port": port})


def descriptor_ceiling() -> int:
    """Give the descriptor from which on new clients are refused: a sixteenth is kept back.

    It is for connections to formations of the clients that are in, for files, and for refusing.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    return soft - min(1024, max(32, soft // 16))


def raise_descriptor_limit() -> tuple[int, int]:
    """Raise the soft limit to the hard one; give the old soft limit and the new one.

    An event stream takes two, and the usual soft limit of 1,024 is soon reached. Call it once at
    start. Children inherit it, unless whoever starts them sets it back.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1 << 20
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            return soft, soft  # macOS refuses what is above its kernel's own limit.
        return soft, wanted
    return soft, soft
