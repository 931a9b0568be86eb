"""Who listens on a port: by way of /proc on Linux, for the one message where it helps most."""

from __future__ import annotations

from pathlib import Path

#: The state of a listening socket in /proc/net/tcp.
LISTENING = "0A"


def find_occupant(port: int, proc: Path = Path("/proc")) -> str | None:
    """Name the program that listens on a TCP port and its pid; None where that can't be seen."""
    try:
        inodes = _listening_inodes(port, proc)
        pid = _owner(inodes, proc) if inodes else None
        if pid is None:
            return None
        name = (proc / str(pid) / "comm").read_text().strip()
    except OSError:
        return None
    return f"{name} (pid {pid})"


def _listening_inodes(port: int, proc: Path) -> set[str]:
    inodes = set()
    for table in ("net/tcp", "net/tcp6"):
        path = proc / table
        if not path.exists():
            continue
        for line in path.read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                inodes.add(columns[9])
    return inodes


def _owner(inodes: set[str], proc: Path) -> int | None:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in proc.iterdir():
        if process.name.isdigit() and _holds(process / "fd", wanted):
            return int(process.name)
    return None


def _holds(descriptors: Path, wanted: set[str]) -> bool:
    try:
        return any(_link(entry) in wanted for entry in descriptors.iterdir())
    except OSError:
        return False  # Another user's process, or one that has just ended.


def _link(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:
        return ""
