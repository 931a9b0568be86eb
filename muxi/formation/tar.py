"""Reading tar archives as a stream: ustar (POSIX.1-1988), pax (POSIX.1-2001) and GNU long names.

Our own reader because the standard library's keeps whole extended headers in memory whatever size
they claim, and the one that a binary carries is frozen with its bugs. This one holds one block and
at most one extended header; it opens nothing and decides nothing: see members.py for what is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from muxi.formation.refusal import refused, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
MAX_EXTENDED = 256 * 1024
"""Bytes in one extended header. Names may have 1 kB; extended attributes come here as well."""
MAX_EXTENDED_IN_A_ROW = 8
MAX_PADDING = 1024 * 1024
"""Zero bytes after the end marker: archivers fill up to a record, at most this large in practice."""
MAX_SIZE = 2**62

MemberKind = Literal[
    "file", "directory", "symbolic link", "hard link", "character device", "block device", "FIFO",
    "sparse file", "special file",
]  # fmt: skip

_KINDS: dict[bytes, MemberKind] = {
    b"0": "file", b"\0": "file", b"7": "file", b"1": "hard link", b"2": "symbolic link",
    b"3": "character device", b"4": "block device", b"5": "directory", b"6": "FIFO", b"S": "sparse file",
}  # fmt: skip
_WITHOUT_DATA = frozenset(
    {"directory", "symbolic link", "hard link", "character device", "block device", "FIFO"}
)
_CURE = "Pack the formation's directory anew, for example with: tar -czf bundle.tar.gz DIRECTORY"


class Source(Protocol):
    """Where the bytes come from: `read` gives at least one until the end."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Member:
    """A member's header: `size` in bytes, `mode` the permission bits as the archive has them."""

    name: str
    kind: MemberKind
    size: int
    mode: int


@dataclass(slots=True)
class _Extended:
    """What extended headers say of the member that follows them."""

    count: int = 0
    name: bytes | None = None
    size: int | None = None
    sparse: bool = False


class TarReader:
    """Members in the archive's order. Raises BundleError for whatever is not a sound archive."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._unread = 0  # bytes of the current member's content
        self._padding = 0  # bytes after it, up to the next block
        self._last_name = ""

    def __iter__(self) -> Iterator[Member]:
        """Yield each member; its `content` can be read until the next one is asked for."""
        while True:
            member = self._next_member()
            if member is None:
                self._read_padding()
                return
            self._last_name = member.name
            yield member
            for _ in self.content(BLOCK * BLOCK):
                pass

    def content(self, piece: int) -> Iterator[bytes]:
        """Yield the current member's content, each time at most `piece` bytes."""
        while self._unread:
            data = self._some(min(piece, self._unread))
            self._unread -= len(data)
            yield data
        self._exactly(self._padding)
        self._padding = 0

    def _next_member(self) -> Member | None:
        extended = _Extended()
        while True:
            header = self._header()
            if header is None:
                if extended.count:
                    raise self._damaged("a header without its member")
                return None
            kind, size = header[156:157], _number(header[124:136])
            if kind not in b"xgLK":
                return self._member(header, extended, size)
            extended.count += 1
            if size > MAX_EXTENDED or extended.count > MAX_EXTENDED_IN_A_ROW:
                raise refused(f"too long a header {self._where()}.", cure=_CURE)
            data = self._exactly(size)
            self._exactly(-size % BLOCK)
            self._extend(extended, kind, data)

    def _header(self) -> bytes | None:
        """Return the next header block, None at the end marker."""
        block = self._exactly(BLOCK, may_end=not self._last_name)
        if not block:
            raise refused("it is an empty archive.", cure=_CURE)
        if not block.strip(b"\0"):
            return None
        if not _is_header(block):
            if not self._last_name:
                raise refused("what gzip has packed is not a tar archive.", cure=_CURE)
            raise self._damaged("a header with a wrong checksum")
        return block

    def _member(self, header: bytes, extended: _Extended, size: int) -> Member:
        raw = extended.name if extended.name is not None else _header_name(header)
        name = self._text(raw)
        kind = _KINDS.get(header[156:157])
        if kind is None:
            raise refused(
                f"'{shown(name)}' is of a type that is not supported ({shown(chr(header[156]))}).",
                member=name,
                cure="Pack regular files and directories only.",
            )
        if extended.sparse:
            kind = "sparse file"
        if header[156:157] == b"\0" and name.endswith("/"):
            kind = "directory"  # as archives before POSIX have it
        size = 0 if kind in _WITHOUT_DATA else size if extended.size is None else extended.size
        self._unread, self._padding = size, -size % BLOCK
        return Member(name, kind, size, _number(header[100:108]) & 0o7777)

    def _extend(self, extended: _Extended, kind: bytes, data: bytes) -> None:
        if kind == b"L":
            extended.name = data.split(b"\0", 1)[0]
        elif kind == b"g":
            if {"path", "size", "linkpath"} & self._records(data).keys():
                raise self._damaged("a global header with a name or a size")
        elif kind == b"x":
            records = self._records(data)
            extended.name = records.get("path") or extended.name
            extended.sparse |= any(key.startswith("GNU.sparse.") for key in records)
            if "size" in records:
                extended.size = self._decimal(records["size"])

    def _records(self, data: bytes) -> dict[str, bytes]:
        """Split a pax header into its records, each `length keyword=value` and a line feed."""
        records: dict[str, bytes] = {}
        at = 0
        while at < len(data):
            blank = data.find(b" ", at, at + 8)
            length = self._decimal(data[at:blank]) if blank > at else 0
            record = data[blank + 1 : at + length]
            key, equals, value = record.partition(b"=")
            if not equals or not record.endswith(b"\n") or at + length > len(data):
                raise self._damaged("an extended header that can't be read")
            records[key.decode("utf-8", "replace")] = value[:-1]
            at += length
        return records

    def _decimal(self, digits: bytes) -> int:
        if not digits.isdigit() or len(digits) > 19 or int(digits) > MAX_SIZE:
            raise self._damaged("a number that makes no sense")
        return int(digits)

    def _text(self, raw: bytes) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            name = raw.decode("utf-8", "backslashreplace")
            raise refused(
                f"the name '{shown(name)}' is not UTF-8.", member=name, cure="Rename the file."
            ) from None

    def _read_padding(self) -> None:
        """Read to the end, so that the gzip checksum is seen; only zeros may follow the marker."""
        length = 0
        while data := self._source.read(BLOCK * BLOCK):
            length += len(data)
            if data.strip(b"\0") or length > MAX_PADDING:
                raise refused("something follows the end of the archive.", cure=_CURE)

    def _some(self, size: int) -> bytes:
        data = self._source.read(size)
        if not data:
            raise self._damaged("a sudden end")
        return data

    def _exactly(self, size: int, *, may_end: bool = False) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._source.read(size - len(data))
            if not piece:
                if may_end and not data:
                    return b""
                raise self._damaged("a sudden end")
            data += piece
        return data

    def _damaged(self, what: str) -> Exception:
        return refused(
            f"the archive is damaged: {what} {self._where()}.", cure="Pack and send the bundle again."
        )

    def _where(self) -> str:
        return f"after '{shown(self._last_name)}'" if self._last_name else "at its beginning"


def _is_header(block: bytes) -> bool:
    """Compare the checksum: the sum of all bytes, its own field taken as blanks."""
    stated = block[148:156].split(b"\0", 1)[0].strip(b" ")
    computed = sum(block[:148]) + len(block[148:156]) * 0x20 + sum(block[156:])
    return bool(stated) and not stated.strip(b"01234567") and int(stated, 8) == computed


def _header_name(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _number(digits: bytes) -> int:
    """Read a header's number: octal, or base 256 when its first bit is set (GNU). Never negative."""
    if digits[0] & 0x80:
        value = int.from_bytes(bytes([digits[0] & 0x7F]) + digits[1:], "big")
        if value > MAX_SIZE:
            raise refused("the archive is damaged: a number that makes no sense.", cure=_CURE)
        return value
    return _octal(digits)


def _octal(digits: bytes) -> int:
    word = digits.split(b"\0", 1)[0].strip(b" ")
    if not word:
        return 0
    if word.strip(b"01234567"):
        raise refused("the archive is damaged: a number that makes no sense.", cure=_CURE)
    return int(word, 8)
