from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from muxi.errors import StorageError, TooLarge
from muxi.formation.upload import BATCH, Upload, receive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        await trio.lowlevel.checkpoint()
        yield part


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def test_it_is_written_hashed_and_private(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "tmp"
    upload = await receive(chunks(b"abc", b"", b"def"), directory, 6)
    assert upload == Upload(upload.path, hashlib.sha256(b"abcdef").hexdigest(), 6)
    assert upload.path.read_bytes() == b"abcdef"
    assert stat.S_IMODE(upload.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert names(directory) == [upload.path.name]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=50).map(lambda b: b * 5000), max_size=8))
def test_any_chunks_arrive_whole(tmp_path_factory: pytest.TempPathFactory, parts: Sequence[bytes]) -> None:
    upload = trio.run(receive, chunks(*parts), tmp_path_factory.mktemp("up"), 10**9)
    whole = b"".join(parts)
    assert upload.path.read_bytes() == whole
    assert (upload.size, upload.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())


async def test_nothing_at_all_is_an_empty_file(tmp_path: Path) -> None:
    upload = await receive(chunks(), tmp_path, 10)
    assert (upload.size, upload.path.read_bytes()) == (0, b"")


async def test_small_chunks_are_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    write = os.write

    def counting(fd: int, data: memoryview) -> int:
        if len(data) > 1:  # trio wakes itself by single bytes
            sizes.append(len(data))
        return write(fd, data)

    monkeypatch.setattr(os, "write", counting)
    await receive(chunks(*[bytes(1000)] * 1000), tmp_path, 10**7)
    assert sum(sizes) == 1_000_000
    assert all(size >= BATCH for size in sizes[:-1])


async def test_one_byte_too_many(tmp_path: Path) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            await trio.lowlevel.checkpoint()
            taken += 1
            yield bytes(100_000)

    with pytest.raises(TooLarge) as caught:
        await receive(endless(), tmp_path, 1_000_000)
    assert (caught.value.status, caught.value.details) == (413, {"limit": 1_000_000})
    assert "1,000,000 bytes" in caught.value.message
    assert caught.value.cure
    assert taken == 11
    assert not names(tmp_path)


async def test_a_client_that_goes_away_leaves_nothing(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(BATCH)
        await trio.lowlevel.checkpoint()
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await receive(broken(), tmp_path, 10**9)
    assert not names(tmp_path)


async def test_a_cancellation_leaves_nothing(tmp_path: Path) -> None:
    waiting = trio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield bytes(BATCH)
        waiting.set()
        await trio.sleep_forever()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive, stalled(), tmp_path, 10**9)
            await waiting.wait()
            assert names(tmp_path)
            nursery.cancel_scope.cancel()
    assert not names(tmp_path)


async def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def full(fd: int, data: memoryview) -> int:
        if len(data) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError, match="No space left") as caught:
        await receive(chunks(b"abc"), tmp_path, 10)
    assert caught.value.status == 507
    assert not names(tmp_path)


async def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        await receive(chunks(b"abc"), tmp_path / "file" / "tmp", 10)


async def test_discarding(tmp_path: Path) -> None:
    upload = await receive(chunks(b"abc"), tmp_path, 10)
    with trio.CancelScope() as scope:
        scope.cancel()
        await upload.discard()
    assert not names(tmp_path)
    await upload.discard()
