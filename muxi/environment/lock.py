"""One builder for one environment, whatever process it is in: a server, or a command beside it.

The lock is the kernel's, on a file beside the environment. An installer that is running inherits
it, so that one which outlives a killed server keeps others away until it has ended.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

import trio

from muxi.files import PRIVATE_FILE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

PAUSE: Final = 0.25
"""Seconds between two tries: the kernel tells nobody that a lock has become free."""


@asynccontextmanager
async def held(path: Path, tell: Callable[[str], None]) -> AsyncIterator[int]:
    """Hold the lock, once it is free, and give its descriptor. The caller sets the deadline."""
    fd = await trio.to_thread.run_sync(_try, path)
    if fd is None:
        tell("Waiting for another process that makes the same Python environment...")
    while fd is None:
        await trio.sleep(PAUSE)
        fd = await trio.to_thread.run_sync(_try, path)
    try:
        yield fd
    finally:
        _release(path, fd)


@contextmanager
def held_at_once(path: Path) -> Iterator[bool]:
    """Hold the lock if nobody else does, and say whether. Blocks for moments only. Raises OSError."""
    fd = _try(path)
    try:
        yield fd is not None
    finally:
        if fd is not None:
            _release(path, fd)


def _try(path: Path) -> int | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        # Who held it may have removed the file meanwhile: then this lock would be nobody else's.
        if _locked(fd) and os.path.samestat(os.fstat(fd), path.stat()):
            return fd
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _release(path: Path, fd: int) -> None:
    """Remove the file while the lock is held, then let go of both."""
    if os.name != "nt":  # an open file can't be removed there; the next one uses it again
        path.unlink(missing_ok=True)
    os.close(fd)


def _locked(fd: int) -> bool:
    try:
        import fcntl  # noqa: PLC0415 - not there on Windows
    except ImportError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
