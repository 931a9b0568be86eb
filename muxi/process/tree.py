"""All that came of one spawned process: its group, and descendants that left the group.

A descendant is known by one of three proofs: it is in the process group that we made, or in the
control group, or it has our instance's random token in its environment (which is inherited, also
by a daemon that has made a session of its own). One that has none is not ours to signal.

A single descendant is signalled through a pidfd that was opened before the proof was made, so
the signal can't reach another process that got the same pid meanwhile. Where there is no /proc
and no pidfd, only the group is reached.
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import trio

from muxi.process import exits, procfs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to a process group.

    Only call it while the group's leader is known to be ours and not reaped yet. A group that is
    gone, or whose only member is a zombie that macOS refuses to signal, is no error.
    """
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def nobody() -> Collection[int]:
    return ()


async def dismiss(
    group: int | None,
    token_sha256: str,
    number: signal.Signals,
    *,
    members: Callable[[], Collection[int]] = nobody,
) -> None:
    """Signal all living descendants, wait until they are gone, and look again until none is left.

    `members` tells who is in the control group that we made.

    Without end when they ignore the signal: the caller sets the deadline. The leader itself is
    not waited for when it is a zombie.
    """
    while True:
        with ExitStack() as opened:
            handles = await trio.to_thread.run_sync(_open_living, group, token_sha256, members)
            for handle in handles:
                opened.callback(os.close, handle)
            if not handles:
                return
            for handle in handles:
                _signal(handle, number)
            for handle in handles:
                await trio.lowlevel.wait_readable(handle)


def living(group: int | None, token_sha256: str) -> Iterator[int]:
    """Yield the pids of all descendants that are not zombies."""
    return (pid for pid in procfs.pids() if _is_living(pid, group, token_sha256))


def _open_living(group: int | None, token_sha256: str, members: Callable[[], Collection[int]]) -> list[int]:
    handles = []
    for pid in {*living(group, token_sha256), *members()}:
        handle = exits.open_pidfd(pid)
        if handle is None:
            continue
        if _is_living(pid, group, token_sha256) or (pid in members() and procfs.is_alive(pid)):
            handles.append(handle)
        else:
            os.close(handle)
    return handles


def _is_living(pid: int, group: int | None, token_sha256: str) -> bool:
    stat = procfs.read_stat(pid)
    if stat is None or not stat.alive:
        return False
    return stat.group == group or procfs.token_sha256(pid) == token_sha256


def _signal(handle: int, number: signal.Signals) -> None:
    if hasattr(signal, "pidfd_send_signal"):
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
