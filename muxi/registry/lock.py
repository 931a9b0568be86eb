"""One server for one data directory: two would each start the same formations."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from muxi.errors import OperatorError
from muxi.files import PRIVATE_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def exclusive(data_dir: Path) -> Iterator[None]:
    """Hold the data directory for this process. Raises OperatorError while another one does.

    The lock is the kernel's, on `server.lock`: it ends with the process, however that ends. The
    file's content, the holder's pid, is for people.
    """
    path = data_dir / "server.lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        if not _lock(fd):
            holder = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
            raise OperatorError(
                f"Another muxi-server (pid {holder}) uses the data directory {data_dir}.",
                code="DataDirectoryInUse",
                cure="Stop it first, or give this one a data directory of its own (MUXI_DATA_DIR).",
            )
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    try:
        import fcntl  # noqa: PLC0415 - not there on Windows, which has a lock of its own
    except ImportError:
        return _lock_windows(fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
