"""What an ELF file asks of the system that it runs on."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MAGIC = b"\x7fELF"
_SECTION = struct.Struct("<IIQQQQIIQQ")
_VERNEED = 0x6FFFFFFE
_VERSION = re.compile(rb"GLIBC_(\d+(?:\.\d+)+)\0")


def newest_glibc(path: Path) -> tuple[int, ...]:
    """Return the newest version of glibc that a 64-bit ELF file asks for; () if it needs none.

    It reads the names that the section of needed versions refers to (LSB Core, Symbol Versioning).
    Raises ValueError if it is no such file.
    """
    data = path.read_bytes()
    if data[:6] != MAGIC + b"\x02\x01":
        raise ValueError(f"{path} is no 64-bit little-endian ELF file")
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    sections = [_SECTION.unpack_from(data, table + number * size) for number in range(count)]
    found: list[tuple[int, ...]] = []
    for _, kind, _, _, _, _, link, _, _, _ in sections:
        if kind == _VERNEED:
            _, _, _, _, start, length, _, _, _, _ = sections[link]
            names = data[start : start + length]
            found += [tuple(map(int, version.split(b"."))) for version in _VERSION.findall(names)]
    return max(found, default=())
