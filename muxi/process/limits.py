"""How much of the machine one process, with all that comes of it, may use. Plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one process's whole tree; 0 is no limit.

    `memory` is resident memory in bytes, past which processes of the tree are killed; past
    `memory_soft` the formation is renewed without losing a request. `cpu` is how many cores' time
    it may use (0.5: half of one). `processes` counts threads as well, as Linux does. `open_files`
    holds for each process of the tree by itself.
    """

    memory: int = 0
    memory_soft: int = 0
    cpu: float = 0.0
    processes: int = 0
    open_files: int = 0


NO_LIMITS = Limits()
