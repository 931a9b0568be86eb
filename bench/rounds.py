"""Runs the cases: round by round, peer by peer, so that a noisy moment falls on all of them."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from bench.cases.case import Unsupported
from bench.children import BenchError
from bench.figures import Figures
from bench.peers.peer import Missing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from bench.cases.case import Case
    from bench.peers.peer import Peer
    from bench.plan import Plan
    from bench.stage import Stage

    class SetUp(Protocol):
        """Starts everything anew."""

        def __call__(self) -> AbstractContextManager[Stage]: ...


def rotated(peers: Sequence[Peer], turn: int) -> list[Peer]:
    """Let another peer be the first in each round."""
    start = turn % len(peers) if peers else 0
    return [*peers[start:], *peers[:start]]


def measure(cases: Sequence[Case], plan: Plan, *, shared: SetUp, fresh: SetUp) -> dict[str, Figures]:
    """Measure all cases; gives the figures by the cases' names. Raises what setting up raises.

    `shared` is set up once, for all cases that don't ask for a fresh stage.
    """
    figures: dict[str, Figures] = {}
    with ExitStack() as running:
        common = running.enter_context(shared()) if any(not case.fresh for case in cases) else None
        for case in cases:
            if case.fresh:
                running.close()
                common = None
            found = figures.setdefault(case.name, Figures())
            began = time.monotonic()
            for turn in range(plan.rounds):
                _round(case, plan, turn, common=common, fresh=fresh, found=found)
            _say(f"{case.name} ({time.monotonic() - began:.0f} s)")
    return figures


def _round(case: Case, plan: Plan, turn: int, *, common: Stage | None, fresh: SetUp, found: Figures) -> None:
    with ExitStack() as own:
        stage = common if common is not None and not case.fresh else own.enter_context(fresh())
        for name, reason in stage.missing.items():
            found.excuse(case.name, name, reason)
        for peer in rotated(stage.peers, turn):
            _sample(case, plan, turn, peer, found)


def _sample(case: Case, plan: Plan, turn: int, peer: Peer, found: Figures) -> None:
    try:
        for row, sample in case.measure(peer, plan):
            found.add(row, peer.name, turn, sample)
    except (BenchError, Missing, Unsupported, OSError) as error:
        found.excuse(case.name, peer.name, str(error))
        _say(f"  {case.name}, {peer.name}, round {turn + 1}: {error}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
