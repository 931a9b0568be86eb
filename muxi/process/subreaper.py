"""Being the parent of all our descendants whose own parent has gone (Linux's child subreaper, prctl(2)).

Without it a formation's orphans would go to the init process: out of sight, and, in a container
whose init does not reap, zombies for ever. `muxi.process.reaper` collects them.
"""

from __future__ import annotations

import ctypes
import sys

PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> bool:
    """Have orphans come to this process, also after an exec; say whether that is so here."""
    if sys.platform != "linux":
        return False
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return bool(prctl(PR_SET_CHILD_SUBREAPER, *map(ctypes.c_ulong, (1, 0, 0, 0))) == 0)
