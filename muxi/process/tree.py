"""All that came of one spawned process: its group, and descendants that left the group.

A descendant is known by one of four proofs. It is in the process group that we made, or in the
control group, where there is one; it has our instance's random token in its environment (which
is inherited, also by a daemon that has made a session of its own); or its parent is a process so
proved. The last one ends with the parent: an orphan goes to init, or to us as the subreaper, so
what is to be ended is looked for, and held by descriptors, *before* any of it is told to end.
What has none of these is not ours to signal.

A single descendant is signalled through a pidfd that was opened before the proof was made again,
so the signal can't reach another process that got the same pid meanwhile. Where there is no /proc
and no pidfd, only the group is reached.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import trio

from muxi.process import exits, procfs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from muxi.process.procfs import Stat

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to a process group.

    Only call it while the group's leader is known to be ours and not reaped yet. A group that is
    gone, or whose only member is a zombie that macOS refuses to signal, is no error.
    """
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def nobody() -> Collection[int]:
    return ()


class _Member(NamedTuple):
    pidfd: int
    group: int


class Family:
    """Descendants found at one moment, held by descriptors: none can be mistaken for a stranger.

    To be closed in the end, which lets go of them.
    """

    def __init__(self) -> None:
        self._held: dict[int, _Member] = {}

    def close(self) -> None:
        while self._held:
            os.close(self._held.popitem()[1].pidfd)

    async def look(
        self, group: int | None, token_sha256: str, members: Callable[[], Collection[int]] = nobody
    ) -> bool:
        """Look for those alive now and hold them, too; say whether any were found.

        `members` tells who is in the control group that we made.
        """
        held = frozenset(self._held)
        found = await trio.to_thread.run_sync(_open_living, group, token_sha256, members, held)
        self._held.update(found)
        return bool(found)

    def signal(self, number: signal.Signals, *, beside: int | None = None) -> None:
        """Send a signal to all who are held, but for members of the group `beside`."""
        for member in self._held.values():
            if member.group != beside:
                _signal(member.pidfd, number)

    async def gone(self) -> None:
        """Wait until all who are held have ended, and let go of them."""
        for member in self._held.values():
            await trio.lowlevel.wait_readable(member.pidfd)
        self.close()


async def dismiss(
    group: int | None,
    token_sha256: str,
    number: signal.Signals,
    *,
    members: Callable[[], Collection[int]] = nobody,
) -> None:
    """Signal all living descendants, wait until they are gone, and look again until none is left.

    Without end when they ignore the signal: the caller sets the deadline. The leader itself is
    not waited for when it is a zombie.
    """
    family = Family()
    try:
        while await family.look(group, token_sha256, members):
            family.signal(number)
            await family.gone()
    finally:
        family.close()


def living(group: int | None, token_sha256: str, members: Collection[int] = ()) -> dict[int, Stat]:
    """Return all descendants that are not zombies, by pid. Blocks; belongs in a thread."""
    stats = {pid: stat for pid in procfs.pids() if (stat := procfs.read_stat(pid)) and stat.alive}
    ours = {
        pid
        for pid, stat in stats.items()
        if stat.group == group or pid in members or procfs.token_sha256(pid) == token_sha256
    }
    return {pid: stats[pid] for pid in _with_children(ours, stats)}


def cpu_seconds(group: int | None, token_sha256: str) -> float:
    """Return the CPU time that those alive have used so far, in seconds. Blocks."""
    return sum(stat.cpu_ticks for stat in living(group, token_sha256).values()) / _TICKS


def _with_children(ours: set[int], stats: dict[int, Stat]) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(stat.parent, []).append(pid)
    found, unseen = set(ours), list(ours)
    while unseen:
        new = [pid for pid in children.get(unseen.pop(), ()) if pid not in found]
        found.update(new)
        unseen += new
    return found


def _open_living(
    group: int | None, token_sha256: str, members: Callable[[], Collection[int]], held: Collection[int]
) -> dict[int, _Member]:
    handles: dict[int, _Member] = {}
    for pid, seen in living(group, token_sha256, members()).items():
        handle = None if pid in held else exits.open_pidfd(pid)
        if handle is None:
            continue
        now = procfs.read_stat(pid)
        if now is not None and now.alive and now.start_ticks == seen.start_ticks:
            handles[pid] = _Member(handle, now.group)
        else:
            os.close(handle)
    return handles


def _signal(handle: int, number: signal.Signals) -> None:
    if hasattr(signal, "pidfd_send_signal"):
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
