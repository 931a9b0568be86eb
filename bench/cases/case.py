"""What all cases have in common."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bench.usage import cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.figures import Metric, Sample
    from bench.peers.peer import Peer
    from bench.plan import Plan


class Unsupported(Exception):
    """The peer does not do what this case is about."""


class Case(Protocol):
    """Something to measure. `name` chooses it; `metrics` are the columns of its table.

    With `fresh`, each round has newly started processes, for memory that they keep would hide what
    they need. `measure` yields the name of a row and its sample, for each of the case's rows; it raises
    BenchError, OSError, Missing and Unsupported.
    """

    name: str
    about: str
    metrics: tuple[Metric, ...]
    fresh: bool

    def measure(self, peer: Peer, plan: Plan) -> Iterator[tuple[str, Sample]]: ...


@dataclass(slots=True)
class Spent:
    """The processor time that a peer has taken, in seconds."""

    seconds: float = 0.0

    def each(self, count: float) -> float:
        """Divide it by so many pieces of work; µs."""
        return self.seconds / count * 1e6 if count else 0.0


@contextmanager
def spending(peer: Peer) -> Iterator[Spent]:
    """Measure the processor time that a peer takes during the block."""
    pids, spent = peer.pids, Spent()
    before = cpu_seconds(pids)
    yield spent
    spent.seconds = cpu_seconds(pids) - before
