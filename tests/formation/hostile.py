"""Makers of archives, sound and hostile, block by block where no archiver would make them."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from typing import TYPE_CHECKING, ParamSpec

from muxi.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

P = ParamSpec("P")

END = bytes(1024)
MANIFEST = b"id: hello\ncommand: [python3, app.py]\n"


def block(
    name: bytes,
    *,
    kind: bytes = b"0",
    size: int = 0,
    mode: int = 0o644,
    link: bytes = b"",
    size_field: bytes | None = None,
    prefix: bytes = b"",
    magic: bytes = b"ustar\x0000",
) -> bytes:
    """One ustar header with a right checksum, whatever its fields say."""
    header = bytearray(512)
    header[0:100] = name[:100].ljust(100, b"\0")
    header[100:108] = b"%07o\0" % mode
    header[108:124] = b"0000000\0" * 2
    header[124:136] = size_field if size_field is not None else b"%011o\0" % size
    header[136:148] = b"%011o\0" % 0
    header[148:156] = b" " * 8
    header[156:157] = kind
    header[157:257] = link[:100].ljust(100, b"\0")
    header[257:265] = magic
    header[345:500] = prefix[:155].ljust(155, b"\0")
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def member(name: bytes, content: bytes = b"", **fields: object) -> bytes:
    padding = bytes(-len(content) % 512)
    return block(name, size=len(content), **fields) + content + padding  # type: ignore[arg-type]


def record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    while len(b"%d" % length) + len(key) + len(value) + 3 != length:
        length = len(b"%d" % length) + len(key) + len(value) + 3
    return b"%d %s=%s\n" % (length, key, value)


def pax(*records: bytes, kind: bytes = b"x") -> bytes:
    return member(b"PaxHeader", b"".join(records), kind=kind)


def packed(*parts: bytes, end: bytes = END) -> bytes:
    return gzip.compress(b"".join(parts) + end, compresslevel=1)


GOOD = member(b"formation.yaml", MANIFEST)
LONG = b"d" * 250

HOSTILE: dict[str, tuple[bytes, str]] = {
    # name → archive, and what its refusal must say
    "parent": (packed(GOOD, member(b"../outside", b"x")), "../outside"),
    "parent-deep": (packed(GOOD, member(b"a/b/../../../outside", b"x")), "outside of the bundle"),
    "parent-inside": (packed(GOOD, member(b"a/../formation.yaml", b"x")), "outside of the bundle"),
    "parent-by-prefix": (packed(GOOD, member(b"outside", b"x", prefix=b"..")), "../outside"),
    "absolute": (packed(GOOD, member(b"/etc/outside", b"x")), "absolute"),
    "absolute-by-pax": (packed(GOOD, pax(record(b"path", b"/etc/outside")), member(b"ok")), "absolute"),
    "drive": (packed(GOOD, member(b"C:outside", b"x")), "absolute"),
    "backslash": (packed(GOOD, member(b"..\\outside", b"x")), "backslash"),
    "symlink": (packed(GOOD, member(b"link", kind=b"2", link=b"/etc")), "'link' is a symbolic link"),
    "symlink-chain": (
        packed(
            GOOD,
            member(b"d/a", kind=b"2", link=b".."),
            member(b"d/b", kind=b"2", link=b"a/.."),
            member(b"d/b/outside", b"x"),
        ),
        "'d/a' is a symbolic link",
    ),
    "symlink-long-target": (
        packed(GOOD, pax(record(b"linkpath", b"../" * 2000)), member(b"l", kind=b"2")),
        "'l' is a symbolic link",
    ),
    "symlink-without-name": (packed(GOOD, member(b"", kind=b"2", link=b"/etc")), "is a symbolic link"),
    "hardlink": (packed(GOOD, member(b"hard", kind=b"1", link=b"/etc/passwd")), "'hard' is a hard link"),
    "hardlink-to-symlink": (
        packed(GOOD, member(b"h", kind=b"1", link=b"s"), member(b"s", kind=b"2", link=b"/etc")),
        "'h' is a hard link",
    ),
    "character-device": (packed(GOOD, member(b"null", kind=b"3")), "'null' is a character device"),
    "block-device": (packed(GOOD, member(b"sda", kind=b"4")), "'sda' is a block device"),
    "fifo": (packed(GOOD, member(b"pipe", kind=b"6")), "'pipe' is a FIFO"),
    "sparse-gnu": (packed(GOOD, member(b"holes", kind=b"S")), "'holes' is a sparse file"),
    "sparse-pax": (
        packed(GOOD, pax(record(b"GNU.sparse.major", b"1")), member(b"holes", b"0\n")),
        "'holes' is a sparse file",
    ),
    "multi-volume": (packed(GOOD, member(b"rest", kind=b"M")), "'rest' is of a type"),
    "nul-by-pax": (packed(GOOD, pax(record(b"path", b"a\0b")), member(b"ok")), "control character"),
    "line-feed": (packed(GOOD, member(b"a\nb", b"x")), "control character"),
    "escape": (packed(GOOD, member(b"\x1b[2J", b"x")), "control character"),
    "not-utf8": (packed(GOOD, member(b"caf\xe9", b"x")), "not UTF-8"),
    "no-name": (packed(GOOD, member(b"./", b"x")), "directory's name"),
    "file-named-as-directory": (packed(GOOD, member(b"a/", b"x")), "directory's name"),
    "long-part": (packed(GOOD, member(b"L", b"n" * 256, kind=b"L"), member(b"x")), "longer than 255 bytes"),
    "long-path": (packed(GOOD, member(b"L", b"/".join([LONG] * 5), kind=b"L"), member(b"x")), "1024 bytes"),
    "deep": (packed(GOOD, member(b"L", b"a/" * 101 + b"b", kind=b"L"), member(b"x")), "100 directories"),
    "twice": (packed(GOOD, member(b"a", b"1"), member(b"a", b"2")), "'a' is in the archive twice"),
    "twice-otherwise-written": (packed(GOOD, member(b"a/b", b"1"), member(b"./a//b", b"2")), "twice"),
    "case-twins": (packed(GOOD, member(b"Readme", b"1"), member(b"README", b"2")), "differs from 'Readme'"),
    "case-twins-of-directories": (packed(GOOD, member(b"A/x"), member(b"a/y")), "differs from 'A'"),
    "unicode-twins": (
        packed(GOOD, member("caf\u00e9".encode()), member("cafe\u0301".encode())),
        "only in case or Unicode form",
    ),
    "file-as-directory": (packed(GOOD, member(b"a", b"1"), member(b"a/b", b"2")), "a file and a directory"),
    "directory-as-file": (packed(GOOD, member(b"a/b", b"1"), member(b"a", b"2")), "in the archive twice"),
    "size-negative": (
        packed(GOOD, block(b"neg", size_field=b"\xff" * 12)),
        "a number that makes no sense",
    ),
    "size-huge": (packed(GOOD, block(b"huge", size=8**11 - 1)), "'huge' has 8,589,934,591 bytes"),
    "size-base256": (
        packed(GOOD, block(b"big", size_field=b"\x80" + (2**60).to_bytes(11, "big"))),
        "'big' has",
    ),
    "size-not-octal": (packed(GOOD, block(b"odd", size_field=b"12345678901\0")), "makes no sense"),
    "pax-size-lie-short": (
        packed(GOOD, pax(record(b"size", b"1")), member(b"lie", b"x" * 2000)),
        "the archive is damaged",
    ),
    "pax-size-lie-long": (
        packed(GOOD, pax(record(b"size", b"99999")), member(b"lie", b"x" * 20)),
        "a sudden end",
    ),
    "pax-size-not-a-number": (packed(GOOD, pax(record(b"size", b"-1")), member(b"lie")), "no sense"),
    "pax-size-digits": (packed(GOOD, pax(record(b"size", b"9" * 5000)), member(b"lie")), "no sense"),
    "pax-record-too-long": (packed(GOOD, member(b"P", b"999 path=x\n", kind=b"x"), member(b"a")), "read"),
    "pax-record-zero": (packed(GOOD, member(b"P", b"0 path=x\n", kind=b"x"), member(b"a")), "can't be read"),
    "pax-record-no-blank": (packed(GOOD, member(b"P", b"1" * 600, kind=b"x"), member(b"a")), "can't be read"),
    "pax-header-huge": (packed(GOOD, block(b"P", kind=b"x", size=8**10), end=b""), "too long a header"),
    "pax-global-with-path": (packed(pax(record(b"path", b"x"), kind=b"g"), GOOD), "global header"),
    "gnu-name-huge": (packed(GOOD, block(b"L", kind=b"L", size=8**10), end=b""), "too long a header"),
    "headers-without-end": (packed(GOOD, pax(record(b"a", b"b")) * 9, member(b"a")), "too long a header"),
    "header-without-member": (packed(GOOD, pax(record(b"a", b"b"))), "a header without its member"),
    "checksum": (packed(GOOD, b"\x01" * 512), "wrong checksum after 'formation.yaml'"),
    "no-end-marker": (packed(GOOD, end=b""), "a sudden end"),
    "data-after-the-end": (packed(GOOD, end=END + b"secret"), "something follows the end of the archive"),
    "zeros-without-end": (packed(GOOD, end=bytes(2 * 1024 * 1024)), "something follows"),
    "cut": (packed(GOOD, member(b"a", b"x" * 5000))[:-30], "cut short"),
    "cut-in-trailer": (packed(GOOD)[:-1], "cut short"),
    "crc": (packed(GOOD)[:-8] + b"\0\0\0\0" + packed(GOOD)[-4:], "gzip data is damaged"),
    "garbage-after-gzip": (packed(GOOD) + b"garbage", "follows the end of the gzip data"),
    "second-stream-with-data": (packed(GOOD) + gzip.compress(b"more"), "follows the end of the archive"),
    "nothing": (b"", "an empty archive"),
    "gzip-of-nothing": (gzip.compress(b""), "an empty archive"),
    "no-members": (packed(), "an empty archive"),
    "only-directories": (packed(member(b"a/", kind=b"5")), "an empty archive"),
    "plain-tar": (GOOD + END, "not packed with gzip"),
    "zip": (b"PK\x03\x04" + bytes(100), "not packed with gzip"),
    "one-byte": (b"\x1f", "not packed with gzip"),
    "magic-only": (b"\x1f\x8b", "cut short"),
    "gzip-of-text": (gzip.compress(b"hello " * 500), "not a tar archive"),
    "gzip-of-short-text": (gzip.compress(b"hello"), "a sudden end"),
}


def tar_gz(files: dict[str, bytes], *, format_: int = tarfile.PAX_FORMAT, top: str = "") -> bytes:
    """What an honest archiver makes; a name that ends in `/` is a directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=format_) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(top + name.rstrip("/"))
            info.size = len(content)
            if name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def write_zeros_bomb(path: Path, logical_size: int) -> None:
    """A gzip tar of one file of `logical_size` zeros, made without ever holding them.

    DEFLATE of many zeros repeats itself, so one compressed stretch is written again and again.
    """
    stretch = 64 * 1024 * 1024
    repeats = logical_size // stretch
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = deflate.compress(block(b"zeros", size=repeats * stretch)) + deflate.flush(zlib.Z_FULL_FLUSH)
    body = deflate.compress(bytes(stretch)) + deflate.flush(zlib.Z_FULL_FLUSH)
    with path.open("wb") as file:
        file.write(b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + head)
        for _ in range(repeats):
            file.write(body)
        file.write(deflate.flush() + bytes(8))  # never read that far


def refusal(action: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> BundleError | None:
    """Do something that may refuse a bundle, in the right words; any other exception is a failure."""
    try:
        action(*args, **kwargs)
    except BundleError as error:
        if error.message.startswith("Failed to extract bundle: ") and error.message.isprintable():
            return error
        raise
    return None
