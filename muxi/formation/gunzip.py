"""Unpacking gzip (RFC 1952) piece by piece, so that no input can make more than it may.

`gzip` of the standard library is not used: it hands out as much as asked for before anyone can
look at the ratio, and says of damaged input whatever its layers happen to raise.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, BinaryIO

from muxi.formation.refusal import refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHUNK = 16 * 1024
PIECE = 64 * 1024
RATIO_COUNTS_FROM = 10 * 1024 * 1024
"""Below this many unpacked bytes any ratio is fine: a small text may pack very well."""
MAX_STREAMS = 65_536
"""gzip streams in one file; parallel packers write many. Empty ones would cost time for nothing."""

_MAGIC = b"\x1f\x8b"
_AS_GZIP = 16 + zlib.MAX_WBITS
_CURE = "Pack the formation's directory anew, for example with: tar -czf bundle.tar.gz DIRECTORY"


def unpacked_size(archive: Path, max_ratio: int) -> int:
    """Return about how many bytes a gzip file unpacks to, by its last four (RFC 1952 2.3.1).

    They are the size modulo 2**32 of the last stream, and may lie: this is for an estimate, never less
    than the file itself and never more than the ratio allows. Raises OSError.
    """
    packed = archive.stat().st_size
    with archive.open("rb") as file:
        file.seek(max(packed - 4, 0))
        told = int.from_bytes(file.read(4), "little")
    return min(max(told, packed), max(RATIO_COUNTS_FROM, packed * max_ratio))


class Gunzip:
    """A reader of the unpacked bytes of `source`. Raises BundleError for whatever is not right.

    `taken` and `given` count the packed bytes read and the unpacked bytes made of them.
    `on_chunk(taken)` is called for each chunk of the source; what it raises ends the reading.
    """

    def __init__(self, source: BinaryIO, max_ratio: int, on_chunk: Callable[[int], None]) -> None:
        self._source = source
        self._max_ratio = max_ratio
        self._on_chunk = on_chunk
        self._packed = b""
        self._ready = b""
        self._at = 0
        self._inflate = zlib.decompressobj(_AS_GZIP)
        self._streams = 1
        self._ended = False
        self.taken = 0
        self.given = 0
        self._begin()

    def read(self, size: int) -> bytes:
        """Return 1 to `size` bytes, or none at the end of sound data."""
        while self._at == len(self._ready) and not self._ended:
            self._ready, self._at = self._step(), 0
            self.given += len(self._ready)
            self._check_ratio()
        data = self._ready[self._at : self._at + size]
        self._at += len(data)
        return data

    def _begin(self) -> None:
        if not self._fill():
            raise refused("it is an empty archive: nothing was sent.", cure=_CURE)
        if not self._packed.startswith(_MAGIC):
            raise refused("it is not packed with gzip.", cure=_CURE)

    def _step(self) -> bytes:
        if self._inflate.eof:
            self._next_stream()
            return b""
        if not self._packed and not self._fill():
            raise refused("it is cut short: the gzip data has no end.", cure="Send the bundle again.")
        try:
            data = self._inflate.decompress(self._packed, PIECE)
        except zlib.error as error:
            raise refused(f"its gzip data is damaged ({error}).", cure="Send the bundle again.") from error
        self._packed = self._inflate.unused_data or self._inflate.unconsumed_tail
        return data

    def _next_stream(self) -> None:
        """Go on after one gzip stream: the next one, padding of zeros, or the end."""
        while len(self._packed) < len(_MAGIC) and self._fill():
            pass
        if self._packed.startswith(_MAGIC):
            self._streams += 1
            if self._streams > MAX_STREAMS:
                raise refused("it has too many gzip streams.", cure=_CURE)
            self._inflate = zlib.decompressobj(_AS_GZIP)
            return
        while self._packed or self._fill():
            if self._packed.strip(b"\0"):
                raise refused("something follows the end of the gzip data.", cure=_CURE)
            self._packed = b""
        self._ended = True

    def _fill(self) -> bool:
        chunk = self._source.read(CHUNK)
        self.taken += len(chunk)
        self._packed += chunk
        self._on_chunk(self.taken)
        return bool(chunk)

    def _check_ratio(self) -> None:
        if self.given > max(RATIO_COUNTS_FROM, self.taken * self._max_ratio):
            raise refused(
                f"it unpacks to more than {self._max_ratio} times its size.",
                cure="Leave out files of mere filling, or raise formations.bundle.max_ratio.",
            )
