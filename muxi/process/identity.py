"""Proof that a process is one that we spawned, also for a later run of the server.

A pid alone proves nothing: it may have been given to a stranger. Four things together do: the
pid, the time the process was started, the boot during which that was, and a random token that
only its environment holds. An `Identity` keeps the token's hash, so it may be stored.

What can't be proved is never signalled. Without /proc nothing can be proved.
"""

from __future__ import annotations

import hmac
import os
import signal
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import trio

from muxi.process import exits, procfs, tree

if TYPE_CHECKING:
    from collections.abc import Mapping

KILL_TIMEOUT = 5.0
"""Seconds that a killed process may take to vanish, before we stop waiting for it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a process is. `start_ticks` counts clock ticks from the boot to the process's start."""

    pid: int
    start_ticks: int
    boot_id: str
    token_sha256: str

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Identity:
        """Read what `to_json` wrote. Raises ValueError when it is not that."""
        match data:
            case {
                "pid": int(pid),
                "start_ticks": int(ticks),
                "boot_id": str(boot_id),
                "token_sha256": str(digest),
            } if pid > 1:
                return cls(pid, ticks, boot_id, digest)
        raise ValueError("not the identity of a process")


def identify(pid: int, token: str) -> Identity | None:
    """Return the identity of a child spawned with `token`; None where it could not be proved later."""
    stat, boot_id = procfs.read_stat(pid), procfs.boot_id()
    if stat is None or boot_id is None:
        return None
    return Identity(pid, stat.start_ticks, boot_id, procfs.hash_token(token.encode()))


def still_ours(identity: Identity) -> bool:
    """Say whether that very process is alive. False also when it can't be proved."""
    stat = procfs.read_stat(identity.pid)
    if stat is None or not stat.alive or stat.start_ticks != identity.start_ticks:
        return False
    digest = procfs.token_sha256(identity.pid)
    return _this_boot(identity) and digest is not None and hmac.compare_digest(digest, identity.token_sha256)


async def stop_leftover(identity: Identity, timeout: float) -> bool:
    """End what an earlier run of the server left behind; say whether it is all gone.

    TERM to the process, its group and its proved descendants, `timeout` seconds, then KILL; also
    when the process itself is gone and only descendants of it are left. It need not be our child;
    if it is, as after an upgrade by exec, it is reaped. False too where nothing can be proved.
    """
    if not _this_boot(identity):
        return procfs.boot_id() is not None
    try:
        with trio.move_on_after(timeout):
            await _dismiss(identity, signal.SIGTERM)
            return True
        with trio.move_on_after(KILL_TIMEOUT):
            await _dismiss(identity, signal.SIGKILL)
            return True
        return False
    finally:
        exits.collect(identity.pid, identity.start_ticks)


async def stop_marked(token_sha256: str, timeout: float) -> bool:
    """End whatever carries this token, as `stop_leftover` does, when no more is known of it.

    A server that was killed between starting a process and writing down which one it is leaves
    that behind.
    """
    with trio.move_on_after(timeout):
        await tree.dismiss(None, token_sha256, signal.SIGTERM)
        return True
    with trio.move_on_after(KILL_TIMEOUT):
        await tree.dismiss(None, token_sha256, signal.SIGKILL)
        return True
    return False


async def _dismiss(identity: Identity, number: signal.Signals) -> None:
    # The open pidfd keeps nobody's pid from being reused, but the proof after it, and the look
    # whether it has ended, leave no time for a reuse before the group is signalled.
    handle = exits.open_pidfd(identity.pid)
    if handle is not None:
        try:
            if still_ours(identity):
                tree.signal_group(identity.pid, number)
                await trio.lowlevel.wait_readable(handle)
        finally:
            os.close(handle)
    await tree.dismiss(None, identity.token_sha256, number)


def _this_boot(identity: Identity) -> bool:
    return identity.boot_id == procfs.boot_id()
