"""Taking an uploaded bundle in: streamed to a private file, hashed on the way, never held in memory."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from muxi.errors import TooLarge
from muxi.files import PRIVATE_DIRECTORY, PRIVATE_FILE
from muxi.formation.disk import disk_work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BATCH = 256 * 1024
"""Bytes gathered before they are handed to a thread: chunks from the net are far smaller."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A received bundle: where it lies, the SHA-256 of its bytes in hex, its size in bytes."""

    path: Path
    sha256: str
    size: int

    async def discard(self) -> None:
        """Remove the file; also inside a cancelled scope, also when it is gone already."""
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(_unlink, self.path)


async def receive(chunks: AsyncIterator[bytes], directory: Path, max_size: int) -> Upload:
    """Write a bundle into a new file (mode 0600) of `directory`, which is made when it is missing.

    Raises TooLarge as soon as more than `max_size` bytes have come, StorageError when the disk
    refuses, and whatever `chunks` raises. After an error or a cancellation no file is left.
    """
    with disk_work("save the bundle", stage="receiving"):
        sink = await trio.to_thread.run_sync(_Sink, directory)
    try:
        await _fill(sink, chunks, max_size)
    except BaseException:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(sink.abandon)
        raise
    return Upload(sink.path, sink.digest.hexdigest(), sink.size)


async def _fill(sink: _Sink, chunks: AsyncIterator[bytes], max_size: int) -> None:
    batch = bytearray()
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        if received > max_size:
            raise _too_large(max_size)
        batch += chunk
        if len(batch) >= BATCH:
            await _write(sink, bytes(batch))
            batch.clear()
    await _write(sink, bytes(batch), last=True)


async def _write(sink: _Sink, data: bytes, *, last: bool = False) -> None:
    with disk_work("save the bundle", stage="receiving"):
        await trio.to_thread.run_sync(sink.write, data, last)


class _Sink:
    """The open file; every method blocks and runs in a thread, one at a time."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        self.path = directory / f"upload-{secrets.token_hex(8)}.tar.gz"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._fd: int | None = os.open(self.path, flags, PRIVATE_FILE)
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes, last: bool) -> None:
        assert self._fd is not None
        self.digest.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        if last:
            self._close()

    def abandon(self) -> None:
        self._close()
        _unlink(self.path)

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _too_large(max_size: int) -> TooLarge:
    return TooLarge(
        f"The bundle is larger than {max_size:,} bytes, the limit of this server.",
        stage="receiving",
        cure="Leave out what the formation does not need, or raise formations.bundle.max_upload_size.",
        details={"limit": max_size},
    )
