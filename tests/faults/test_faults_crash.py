"""The server is killed at each step of an operation, and started again: old or new, never neither.

Then the same request is sent again with the same key, as a client does that got no answer: what was
committed is told, what was not is done now, and nothing is done twice. A walk goes on from one
death to the next in the same directory, as a machine with bad luck would. By default every twelfth
step is taken; MUXI_FAULTS=full takes them all.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.faults.walk import (
    ID,
    MOST_STEPS,
    STRIDE,
    Operation,
    Walk,
    deploy,
    deploy_draft,
    packed,
    replayed,
    rollback,
    update,
    write_draft,
)
from tests.integration.outside import processes, until
from tests.program import needs_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.live import LiveServer

pytestmark = needs_source


class Outcome:
    """What came of the deaths so far: which release is current, and which way each one went."""

    def __init__(self, current: str) -> None:
        self.current = current
        self.went = set[bool]()

    def note(self, walk: Walk, live: LiveServer, new: str, again: Operation, *, at_once: bool) -> None:
        """Send what a dead server was at again: at once, or when it is seen how it has gone."""
        where = walk.seen[-1]
        found = None if at_once else walk.check(live)
        assert found in {None, self.current, new}, f"neither the old nor the new release after {where}"
        answer = again(live)
        assert answer.status_code == 200, f"after {where}: {answer.text}"
        committed = replayed(answer)
        assert found is None or committed == (found == new), where
        assert walk.check(live) == new, where
        version = json.loads((live.formations / ID / "version.json").read_text())
        assert answer.json()["data"]["release"] == version["current_version"], where
        assert answer.json()["data"]["version"] == new, where
        self.went.add(committed)
        self.current = new


def through(walk: Walk, outcome: Outcome, begin: Callable[[int], tuple[str, Operation]]) -> None:
    """Walk through an operation. `begin` tells which release it would lead to, and how it is asked for."""
    pending: tuple[str, Operation] | None = None
    for turn, step in enumerate(range(1, MOST_STEPS, STRIDE)):
        with walk.server() as live:
            if pending is not None:
                outcome.note(walk, live, *pending, at_once=turn % 2 == 0)
            pending = begin(step)
            if not walk.die_in(live, step, pending[1]):
                assert walk.check(live) == pending[0]
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
    through(walk, outcome, lambda _step: ("1.0.0" if outcome.current == "2.0.0" else "2.0.0", rollback()))


@pytest.mark.parametrize("source", ["upload", "draft"])
def test_a_deploy_survives_the_death_of_the_server_at_each_step(
    tmp_path: Path, marker: str, source: str
) -> None:
    walk = Walk(tmp_path, marker)
    went = set[bool]()
    again: Operation | None = None
    for turn, step in enumerate(range(1, MOST_STEPS, STRIDE)):
        with walk.server() as live:
            if again is not None:
                went.add(went_well(walk, live, again, at_once=turn % 2 == 0))
                assert live.rpc("DELETE", f"/rpc/formations/{ID}").status_code == 200
                until(lambda: processes(marker) == set(), "no process is left")
                assert not [path for path in live.formations.iterdir() if path.name != ".tmp"]
                assert live.rpc("GET", "/rpc/server/status").json()["data"]["ports"]["allocated"] == 0
            if source == "draft":
                write_draft(live, marker)
            again = deploy(marker) if source == "upload" else deploy_draft()
            if not walk.die_in(live, step, again):
                walk.check(live)
                break
    else:
        pytest.fail(f"a deploy takes more than {MOST_STEPS} steps")
    assert went == {True, False}, "deaths on both sides of the commit were walked through"


def went_well(walk: Walk, live: LiveServer, again: Operation, *, at_once: bool) -> bool:
    """Send a deploy again, and say whether it had been committed before."""
    where, there = walk.seen[-1], None
    if not at_once:
        until(lambda: settled(live), f"deployed or gone after {where}")
        there = live.rpc("GET", f"/rpc/formations/{ID}").status_code == 200
        if there:
            walk.check(live)
    answer = again(live)
    assert answer.status_code == 201, f"after {where}: {answer.text}"
    assert there in {None, replayed(answer)}, where
    assert walk.check(live) == "1.0.0"
    return replayed(answer)


def settled(live: LiveServer) -> bool:
    """Say whether the formation is gone, or is there and runs."""
    answer = live.rpc("GET", f"/rpc/formations/{ID}")
    return answer.status_code == 404 or answer.json()["data"]["status"] == "running"
