"""One server for one data directory: two would each start the same formations.

The lock is the kernel's, on `server.lock`: it ends with the process, however that ends, and goes
over to a program that takes this one's place in the same process (`exec`) with its descriptor.
The file's content, the holder's pid, is believed only while the lock is held.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from muxi.errors import OperatorError
from muxi.files import PRIVATE_FILE
from muxi.locks import lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "server.lock"
TRIES, PAUSE = 10, 0.05
"""How often a lock that is held is tried again: who asks for its holder has it for a moment."""


@contextmanager
def exclusive(data_dir: Path, inherited: int | None = None) -> Iterator[int]:
    """Hold the data directory for this process, and give the descriptor that holds it.

    `inherited` is the descriptor by which the program before this one held it. Raises
    OperatorError while another server has the directory. Blocks for half a second at most.
    """
    path = data_dir / NAME
    fd = _taken_over(path, inherited)
    if fd is None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        if not _lock_in_time(fd):
            raise OperatorError(
                f"Another muxi-server (pid {_written(fd) or 'unknown'}) uses the data directory {data_dir}.",
                code="DataDirectoryInUse",
                cure="Stop it first, or give this one a data directory of its own (MUXI_DATA_DIR).",
            )
        pid = f"{os.getpid()}\n".encode()
        os.lseek(fd, 0, os.SEEK_SET)
        # Written over, then cut: at no moment is it empty for one who reads it meanwhile.
        os.write(fd, pid)
        os.ftruncate(fd, len(pid))
        yield fd
    finally:
        os.close(fd)


def holder(data_dir: Path) -> int | None:
    """Return the pid of the server that holds the data directory; None when none does."""
    try:
        fd = os.open(data_dir / NAME, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return None if lock(fd) else _written(fd)
    finally:
        os.close(fd)


def _taken_over(path: Path, inherited: int | None) -> int | None:
    """Return an inherited descriptor if it is one of this very file; else it is closed."""
    if inherited is None:
        return None
    os.set_inheritable(inherited, False)
    try:
        if os.path.samestat(os.fstat(inherited), path.stat()):
            return inherited
    except OSError:
        pass
    os.close(inherited)
    return None


def _written(fd: int) -> int | None:
    os.lseek(fd, 0, os.SEEK_SET)
    text = os.read(fd, 32).decode("ascii", "replace").strip()
    return int(text) if text.isdecimal() else None


def _lock_in_time(fd: int) -> bool:
    for _ in range(TRIES):
        if lock(fd):
            return True
        time.sleep(PAUSE)
    return False
