"""Locks between processes: the kernel's, on files, so that they end with their holder, however that ends."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

import trio

from muxi.files import PRIVATE_FILE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

PAUSE = 0.1
"""Between two tries, in seconds: the end of a lock is no event."""


@asynccontextmanager
async def held(path: Path, waits: Callable[[], None] = lambda: None) -> AsyncIterator[int]:
    """Wait until this is the only holder of the lock, and hold it for the block. Cancellable.

    `path` is a file that is there for this alone; it is gone once nobody holds it. Other tasks of
    this process are others, too. `waits` is called once when there is another holder. Gives the
    descriptor: a process that inherits it is a holder as well, and goes on being one without us.
    Raises OSError.
    """
    fd = await trio.to_thread.run_sync(_try, path)
    if fd is None:
        waits()
    while fd is None:
        await trio.sleep(PAUSE)
        fd = await trio.to_thread.run_sync(_try, path)
    try:
        yield fd
    finally:
        _release(path, fd)


@contextmanager
def held_at_once(path: Path) -> Iterator[bool]:
    """Hold the lock for the block if nobody else does, and say whether. Blocks. Raises OSError."""
    fd = _try(path)
    try:
        yield fd is not None
    finally:
        if fd is not None:
            _release(path, fd)


def lock(fd: int) -> bool:
    """Try to take the lock of an open file; False while another one has it. Never waits."""
    try:
        import fcntl  # noqa: PLC0415 - not there on Windows, which has a lock of its own
    except ImportError:
        return _lock_windows(fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _try(path: Path) -> int | None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        # The holder before may have removed the file between our opening it and locking it.
        if lock(fd) and os.path.samestat(os.fstat(fd), path.stat()):
            return fd
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _release(path: Path, fd: int) -> None:
    with suppress(OSError):  # Windows does not remove what is open; then it stays, which is no harm
        path.unlink()
    os.close(fd)


def _lock_windows(fd: int) -> bool:
    import msvcrt  # noqa: PLC0415

    try:
        # Far behind the text: Windows keeps others from reading what is locked.
        os.lseek(fd, 1 << 20, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError:
        return False
    finally:
        os.lseek(fd, 0, os.SEEK_SET)
    return True
