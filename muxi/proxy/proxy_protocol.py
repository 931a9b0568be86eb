"""The PROXY protocol, versions 1 and 2: who a load balancer's connection is really from. Pure.

Strict, as its specification asks of receivers: whether there is a header is a matter of
configuration and never guessed, and one that is malformed ends the connection.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from typing import Final, NamedTuple

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V1: Final = b"PROXY "
_V1_MOST: Final = 107
_V1_LINE: Final = re.compile(rb"PROXY (?:(UNKNOWN)(?: [\x20-\x7e]*)?|(TCP4|TCP6) (\S+) (\S+) (\S+) (\S+))")
_PORT: Final = re.compile(rb"0|[1-9][0-9]{0,4}")
#: Sizes of the address blocks of version 2, by family and transport (section 2.2).
_BLOCKS: Final = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
_TCP4, _TCP6 = 0x11, 0x21


class PreambleError(Exception):
    """Not a well-formed header of the PROXY protocol."""


class Preamble(NamedTuple):
    """A header: its size in bytes, and the client's address; None leaves that of the connection.

    There is none for the balancer's own health checks, and for what is not TCP over IP.
    """

    size: int
    source: str | None


def parse_preamble(data: bytes) -> Preamble | None:
    """Parse the header at the start of `data`; None while more is needed. Raises PreambleError."""
    if data.startswith(SIGNATURE[: len(data)]):
        return _version_2(data) if len(data) >= 16 else None
    if data.startswith(_V1[: len(data)]):
        return _version_1(data)
    raise PreambleError("no header of the PROXY protocol")


def _version_1(data: bytes) -> Preamble | None:
    end = data.find(b"\r\n", 0, _V1_MOST)
    if end < 0:
        if len(data) >= _V1_MOST:
            raise PreambleError("the line is too long")
        return None
    match = _V1_LINE.fullmatch(data[:end])
    if match is None:
        raise PreambleError("the line is malformed")
    if match[1] is not None:
        return Preamble(end + 2, None)
    version = 4 if match[2] == b"TCP4" else 6
    source = _address(match[3], version)
    _address(match[4], version)
    for port in (match[5], match[6]):
        if _PORT.fullmatch(port) is None or int(port) > 65535:
            raise PreambleError("a port is malformed")
    return Preamble(end + 2, source)


def _address(written: bytes, version: int) -> str:
    try:
        address = ipaddress.ip_address(written.decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        raise PreambleError("an address is malformed") from None
    if address.version != version or b"%" in written:
        raise PreambleError("an address is of another kind than was said")
    return _plain(address)


def _version_2(data: bytes) -> Preamble | None:
    version_command, family, length = struct.unpack_from("!BBH", data, 12)
    if version_command not in {0x20, 0x21}:
        raise PreambleError("neither LOCAL nor PROXY of version 2")
    if family not in _BLOCKS:
        raise PreambleError("the address family is unknown")
    if length < _BLOCKS[family] and version_command == 0x21:
        raise PreambleError("the addresses are cut short")
    size = 16 + length
    if len(data) < size:
        return None
    if version_command == 0x20 or family not in {_TCP4, _TCP6}:
        return Preamble(size, None)
    raw = data[16:20] if family == _TCP4 else data[16:32]
    return Preamble(size, _plain(ipaddress.ip_address(raw)))


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
