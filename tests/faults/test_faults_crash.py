"""The server is killed at each step of an operation, and started again: old or new, never neither.

A walk goes on from one death to the next in the same directory, as a machine with bad luck would.
By default every twelfth step is taken; MUXI_FAULTS=full takes them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.walk import ID, MOST_STEPS, STRIDE, Operation, Walk, packed, rollback, update
from tests.integration.outside import processes, until
from tests.program import needs_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx

    from tests.live import LiveServer

pytestmark = needs_source


class Outcome:
    """What came of the deaths so far: which release is current, and which way each one went."""

    def __init__(self, current: str) -> None:
        self.current = current
        self.went = set[bool]()

    def note(self, found: str, new: str, where: str) -> None:
        assert found in {self.current, new}, f"neither the old nor the new release after {where}"
        self.went.add(found == new)
        self.current = found


def through(walk: Walk, outcome: Outcome, begin: Callable[[int], tuple[str, Operation]]) -> None:
    """Walk through an operation. `begin` tells which release it would lead to, and how it is asked for."""
    pending: str | None = None
    for step in range(1, MOST_STEPS, STRIDE):
        with walk.server() as live:
            found = walk.check(live)
            if pending is not None:
                outcome.note(found, pending, walk.seen[-1])
            pending, operation = begin(step)
            if not walk.die_in(live, step, operation):
                assert walk.check(live) == pending
                break
    else:
        pytest.fail(f"it takes more than {MOST_STEPS} steps")
    assert outcome.went == {True, False}, "deaths on both sides of the commit were walked through"
    assert walk.told


@pytest.mark.parametrize("strategy", ["blue-green", "recreate"])
def test_an_update_survives_the_death_of_the_server_at_each_step(
    tmp_path: Path, marker: str, strategy: str
) -> None:
    walk = Walk(tmp_path, marker)
    with walk.server() as live:
        assert live.deploy(ID, packed(1, marker)).status_code == 201

    def begin(step: int) -> tuple[str, Operation]:
        return f"{step + 1}.0.0", update(step + 1, marker, strategy)

    through(walk, Outcome("1.0.0"), begin)


def test_a_rollback_survives_the_death_of_the_server_at_each_step(tmp_path: Path, marker: str) -> None:
    walk = Walk(tmp_path, marker)
    with walk.server() as live:
        assert live.deploy(ID, packed(1, marker)).status_code == 201
        assert update(2, marker, "blue-green")(live).status_code == 200
    outcome = Outcome("2.0.0")
    through(walk, outcome, lambda _step: ("1.0.0" if outcome.current == "2.0.0" else "2.0.0", rollback))


def test_a_deploy_survives_the_death_of_the_server_at_each_step(tmp_path: Path, marker: str) -> None:
    walk = Walk(tmp_path, marker)
    went = set[bool]()

    def deploy(live: LiveServer) -> httpx.Response:
        return live.deploy(ID, packed(1, marker))

    for step in range(1, MOST_STEPS, STRIDE):
        with walk.server() as live:
            if step > 1:
                until(lambda live=live: settled(live), f"deployed or gone after {walk.seen[-1]}")  # type: ignore[misc]
                there = live.rpc("GET", f"/rpc/formations/{ID}").status_code == 200
                went.add(there)
                if there:
                    walk.check(live)
                    assert live.rpc("DELETE", f"/rpc/formations/{ID}").status_code == 200
                until(lambda: processes(marker) == set(), "no process is left")
                assert not [path for path in live.formations.iterdir() if path.name != ".tmp"]
                assert live.rpc("GET", "/rpc/server/status").json()["data"]["ports"]["allocated"] == 0
            if not walk.die_in(live, step, deploy):
                walk.check(live)
                break
    else:
        pytest.fail(f"a deploy takes more than {MOST_STEPS} steps")
    assert went == {True, False}, "deaths on both sides of the commit were walked through"


def settled(live: LiveServer) -> bool:
    """Say whether the formation is gone, or is there and runs."""
    answer = live.rpc("GET", f"/rpc/formations/{ID}")
    return answer.status_code == 404 or answer.json()["data"]["status"] == "running"
