"""What every manager of processes can do for a measurement."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench.peers.peer import Door

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

SERVICE = Path(__file__).parents[1] / "service.py"
#: Started as fast as Python can be, so that little of what is measured is the service's own.
COMMAND = (sys.executable, "-I", "-S", str(SERVICE))
FIRST_PORT = 21_000


@dataclass(frozen=True, slots=True)
class Managed:
    """Services that a manager runs: its own processes, and where each service is asked.

    `delay` is the pause in seconds that it was told to make before it starts one again; `listing`
    asks the manager for the state of all services, where that is one request and not a program.
    """

    pids: list[int]
    doors: list[Door] = field(default_factory=list)
    delay: float = 0.0
    listing: Callable[[], object] | None = None


class Manager(Protocol):
    """Runs so many services until the end of the block; begins when all have been ordered.

    On a directory where it has run before it brings back what was there. Raises Missing, BenchError.
    """

    def __call__(self, directory: Path, count: int) -> AbstractContextManager[Managed]: ...


def own_ports(count: int) -> list[Door]:
    """Choose the ports of services that are asked directly."""
    return [Door(FIRST_PORT + number) for number in range(count)]
