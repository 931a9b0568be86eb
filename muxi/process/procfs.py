"""What Linux tells of processes under /proc (proc(5)). Elsewhere every function answers "nothing".

Reads of /proc do not touch a disk; still, a walk over all processes belongs in a thread.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_BLOCK = 64 * 1024
TOKEN_VARIABLE = "MUXI_INSTANCE_TOKEN"  # noqa: S105 - the variable's name, not a token


@dataclass(frozen=True, slots=True)
class Stat:
    """The part of /proc/<pid>/stat that we use; `start_ticks` counts clock ticks since boot.

    `cpu_ticks` are those it has used itself, and those of its children that it has reaped.
    """

    state: str
    parent: int
    group: int
    cpu_ticks: int
    start_ticks: int

    @property
    def alive(self) -> bool:
        """False for a zombie and for one that is just vanishing."""
        return self.state not in "ZXx"


def read_stat(pid: int) -> Stat | None:
    """Return what is known of a process, None when there is none (or no /proc)."""
    content = raw_stat(pid)
    if content is None:
        return None
    # The second field is the program's name in parentheses and may itself hold ") ".
    fields = content.rpartition(b")")[2].split()
    return Stat(
        state=fields[0].decode(),
        parent=int(fields[1]),
        group=int(fields[2]),
        cpu_ticks=sum(map(int, fields[11:15])),
        start_ticks=int(fields[19]),
    )


def raw_stat(pid: int) -> bytes | None:
    """Return /proc/<pid>/stat as it is."""
    try:
        return read(f"{PROC}/{pid}/stat")
    except OSError:
        return None


def count_open_files(pid: int) -> int:
    """Return how many files a process has open, 0 when it is gone. Raises OSError when we may not look."""
    try:
        # Since Linux 6.2 that is the directory's size; before, the size is 0.
        return os.stat(f"{PROC}/{pid}/fd").st_size or len(os.listdir(f"{PROC}/{pid}/fd"))  # noqa: PTH116, PTH208
    except (FileNotFoundError, ProcessLookupError):
        return 0


def is_alive(pid: int) -> bool:
    """Say whether there is such a process, and it is no zombie."""
    stat = read_stat(pid)
    return stat is not None and stat.alive


def token_sha256(pid: int) -> str | None:
    """Return the hash of the instance token in a process's environment.

    None when it has none, when it is gone or a zombie, and when we may not look.
    """
    try:
        environment = read(f"{PROC}/{pid}/environ")
    except OSError:
        return None
    prefix = f"{TOKEN_VARIABLE}=".encode()
    for entry in environment.split(b"\0"):
        if entry.startswith(prefix):
            return hash_token(entry[len(prefix) :])
    return None


def hash_token(token: bytes) -> str:
    """Return the form of a token that may be stored: its SHA-256 in hex."""
    return hashlib.sha256(token).hexdigest()


def boot_id() -> str | None:
    """Return the random id of this boot of the machine, None where there is none."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def pids() -> list[int]:
    """Return the ids of all processes that we can see."""
    try:
        return [int(name) for name in os.listdir(PROC) if name.isdecimal()]  # noqa: PTH208 - see read
    except OSError:
        return []


def available() -> bool:
    """Say whether there is a /proc that tells of processes."""
    return os.path.exists(f"{PROC}/self/stat")  # noqa: PTH110 - see read


def children(pid: int) -> list[int]:
    """Return the processes whose parent a process is.

    None where the kernel does not tell (CONFIG_PROC_CHILDREN), and when the process is gone.
    """
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"{PROC}/{pid}/task"):  # noqa: PTH208 - see read
            with suppress(OSError):  # the thread has ended
                found += map(int, read(f"{PROC}/{pid}/task/{thread}/children").split())
    return found


def read(path: str) -> bytes:
    """Return the whole of a file below /proc. Raises OSError."""
    # Bare system calls: a walk over a thousand processes takes 10 ms so, and 100 ms by pathlib.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        blocks = []
        while block := os.read(descriptor, _BLOCK):
            blocks.append(block)
        return b"".join(blocks)
    finally:
        os.close(descriptor)
