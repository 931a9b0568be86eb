"""Whose socket listens on a port (proc(5): /proc/net/tcp and the descriptors of processes).

An answer on a port proves nothing of who gave it: a stranger may have taken the port a moment
before our process could. The socket's inode does, for a process's descriptors name it.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from typing import TYPE_CHECKING

from muxi.process import procfs, tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LISTENING = "0A"
_ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104 - looked for, not bound


def belong_to(leader: int, token_sha256: str, host: str, port: int) -> bool | None:
    """Say what `owned` says of a process with all its descendants."""
    return owned(host, port, tree.living(leader, token_sha256))


def owned(host: str, port: int, pids: Iterable[int]) -> bool | None:
    """Say whether these processes, and no others, listen there. Blocks; belongs in a thread.

    None when that can't be told: no /proc, nobody seen to listen (another network namespace), or
    descriptors that we may not read.
    """
    sockets = _listening(host, port)
    if not sockets:
        return None
    told = True
    for pid in pids:
        try:
            sockets -= set(_sockets(pid))
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue
        except OSError:
            told = False
    if not sockets:
        return True
    return False if told else None


def addresses(port: int) -> set[str]:
    """Return the addresses on which anybody listens at this port; none where there is no /proc."""
    return {address for address, _ in _rows(port)}


def _listening(host: str, port: int) -> set[int]:
    """Return the inodes of the sockets that a connection to this address may reach."""
    exact: set[int] = set()
    general: set[int] = set()
    for address, inode in _rows(port):
        if address == host:
            exact.add(inode)
        elif address in _ANY or host in _ANY or host == "":
            general.add(inode)
    return exact or general


def _rows(port: int) -> Iterator[tuple[str, int]]:
    for name in ("tcp", "tcp6"):
        try:
            lines = procfs.read(f"{procfs.PROC}/net/{name}").decode("ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            address, _, number = fields[1].partition(":")
            if fields[3] == LISTENING and int(number, 16) == port:
                yield _address(address), int(fields[9])


def _address(written: str) -> str:
    """Read an address as the kernel prints it: 32-bit words, each in the machine's byte order."""
    words = (bytes.fromhex(written[place : place + 8]) for place in range(0, len(written), 8))
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    address = ipaddress.ip_address(packed)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _sockets(pid: int) -> Iterator[int]:
    directory = f"{procfs.PROC}/{pid}/fd"
    for name in os.listdir(directory):  # noqa: PTH208 - as in procfs: many, and often
        try:
            link = os.readlink(f"{directory}/{name}")  # noqa: PTH115
        except FileNotFoundError:  # closed meanwhile
            continue
        if link.startswith("socket:["):
            yield int(link[8:-1])
