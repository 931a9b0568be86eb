from __future__ import annotations

import gzip
import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muxi.errors import BundleError
from muxi.formation.gunzip import RATIO_COUNTS_FROM, Gunzip
from muxi.formation.tar import TarReader
from tests.formation.hostile import END, block, member, pax, record, refusal

PARTS = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cc"]),
    min_size=1,
    max_size=60,
).filter(lambda part: part not in {".", ".."})


class Trickle(io.BytesIO):
    """A source that gives one byte less than asked for, as pipes and decompressors do."""

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        return super().read(max(1, size - 1))


def contents(archive: bytes) -> list[tuple[str, str, int, bytes]]:
    reader = TarReader(Trickle(archive))
    return [(m.name, m.kind, m.mode, b"".join(reader.content(100))) for m in reader]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.lists(PARTS, min_size=1, max_size=4), st.binary(max_size=1100)), max_size=6),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.integers(0, 0o7777),
)
def test_it_reads_what_the_standard_library_writes(
    files: list[tuple[list[str], bytes]], format_: int, mode: int
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format_) as tar:
        for parts, content in files:
            info = tarfile.TarInfo("/".join(parts))
            info.size, info.mode = len(content), mode
            tar.addfile(info, io.BytesIO(content))
    expected = [("/".join(parts), "file", mode, content) for parts, content in files]
    if expected:
        assert contents(buffer.getvalue()) == expected


def test_directories_and_long_names_of_ustar() -> None:
    buffer = io.BytesIO()
    name = "/".join(["d" * 50] * 4)
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    assert contents(buffer.getvalue()) == [(name + "/", "directory", 0o644, b"")]


def test_what_is_not_read_of_a_member_is_skipped() -> None:
    archive = member(b"a", b"x" * 1000) + member(b"b", b"y") + END
    assert [m.name for m in TarReader(Trickle(archive))] == ["a", "b"]


def test_a_pax_size_and_path_replace_those_of_the_header() -> None:
    archive = (
        pax(record(b"size", b"3"), record(b"path", b"long/name"))
        + block(b"short")
        + b"abc"
        + bytes(509)
        + END
    )
    assert contents(archive) == [("long/name", "file", 0o644, b"abc")]


def test_extended_headers_count_for_one_member_only() -> None:
    archive = pax(record(b"path", b"first")) + member(b"x") + member(b"second") + END
    assert [name for name, *_ in contents(archive)] == ["first", "second"]


def test_numbers_may_be_blank_or_base_256() -> None:
    blank = block(b"blank", size_field=b" " * 12)
    binary = block(b"binary", size_field=b"\x80" + (3).to_bytes(11, "big")) + b"abc" + bytes(509)
    assert [(name, text) for name, _, _, text in contents(blank + binary + END)] == [
        ("blank", b""),
        ("binary", b"abc"),
    ]


def test_archives_from_before_posix() -> None:
    old = {"magic": bytes(8), "kind": b"\0"}
    archive = member(b"d/", **old) + member(b"d/f", b"1", **old) + END
    assert [(name, kind) for name, kind, *_ in contents(archive)] == [("d/", "directory"), ("d/f", "file")]


def test_the_prefix_counts_only_where_the_magic_says_so() -> None:
    gnu = block(b"name", magic=b"ustar  \0", prefix=b"not-a-prefix")
    assert [name for name, *_ in contents(gnu + END)] == ["name"]


@settings(deadline=None)
@given(st.binary(max_size=3000), st.booleans())
def test_any_bytes_are_members_or_a_clear_error(data: bytes, begin_well: bool) -> None:
    refusal(contents, (member(b"a", b"1") if begin_well else b"") + data)


@settings(deadline=None)
@given(st.data())
def test_any_damage_is_seen_or_harmless(data: st.DataObject) -> None:
    archive = bytearray(pax(record(b"path", b"a/b")) + member(b"x", b"content") + member(b"c", b"more") + END)
    for _ in range(data.draw(st.integers(1, 4))):
        archive[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))
    refusal(contents, bytes(archive))


def unpack(data: bytes, max_ratio: int = 200, piece: int = 1000) -> bytes:
    reader = Gunzip(io.BytesIO(data), max_ratio, lambda _: None)
    result = b""
    while got := reader.read(piece):
        assert len(got) <= piece
        result += got
    return result


@settings(deadline=None)
@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=4), st.integers(1, 5000), st.integers(0, 50))
def test_streams_one_after_another_are_one_text(texts: list[bytes], piece: int, padding: int) -> None:
    packed = b"".join(map(gzip.compress, texts)) + bytes(padding)
    assert unpack(packed, piece=piece) == b"".join(texts)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=500), st.data())
def test_every_cut_is_seen(text: bytes, data: st.DataObject) -> None:
    packed = gzip.compress(text)
    cut = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(BundleError):
        unpack(packed[:cut])


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_unpack_or_fail_clearly(data: bytes) -> None:
    for candidate in (data, b"\x1f\x8b\x08\0" + data):
        refusal(unpack, candidate)


def test_the_ratio_counts_from_ten_megabytes_on() -> None:
    zeros = bytes(RATIO_COUNTS_FROM)
    assert unpack(gzip.compress(zeros), max_ratio=2, piece=10**6) == zeros
    with pytest.raises(BundleError, match="2 times its size") as caught:
        unpack(gzip.compress(zeros + b"0"), max_ratio=2, piece=10**6)
    assert caught.value.cure is not None
    assert "max_ratio" in caught.value.cure


def test_a_flood_of_empty_streams_is_refused() -> None:
    with pytest.raises(BundleError, match="too many gzip streams"):
        unpack(gzip.compress(b"") * 70_000)


def test_the_source_is_reported_as_it_is_read() -> None:
    packed = gzip.compress(bytes(range(256)) * 10, compresslevel=0)
    seen: list[int] = []
    reader = Gunzip(io.BytesIO(packed), 200, seen.append)
    while reader.read(10_000):
        pass
    assert seen[-1] == len(packed) == reader.taken
    assert reader.given == 2560
