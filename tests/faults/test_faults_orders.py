"""The server is killed at each step of a start, stop, restart or delete, and asked again with the same key.

Whoever got no answer gets the one that there would have been: never a 409 or 404 because it was
done already, and what was not done is done now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.walk import ID, MOST_STEPS, STRIDE, Operation, Walk, order, packed, replayed
from tests.integration.outside import processes, until
from tests.program import needs_source

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live import LiveServer

pytestmark = needs_source
BEFORE = {"start": "stop", "stop": "start", "restart": "start"}


def standing(live: LiveServer) -> str:
    answer = live.rpc("GET", f"/rpc/formations/{ID}")
    return "deleted" if answer.status_code == 404 else str(answer.json()["data"]["status"])


def make_ready(live: LiveServer, what: str, marker: str) -> None:
    """Bring the formation to where the order makes sense."""
    if standing(live) == "deleted":
        assert live.deploy(ID, packed(1, marker)).status_code == 201
    if (BEFORE.get(what), standing(live)) in {("stop", "running"), ("start", "stopped")}:
        assert live.rpc("POST", f"/rpc/formations/{ID}/{BEFORE[what]}").status_code == 200


@pytest.mark.parametrize(
    ("what", "after"),
    [("stop", "stopped"), ("start", "running"), ("restart", "running"), ("delete", "deleted")],
)
def test_an_order_is_answered_though_the_server_died_at_any_step_of_it(
    tmp_path: Path, marker: str, what: str, after: str
) -> None:
    walk = Walk(tmp_path, marker)
    went = set[bool]()
    again: Operation | None = None
    for turn, step in enumerate(range(1, MOST_STEPS, STRIDE)):
        with walk.server() as live:
            if again is not None:
                where = walk.seen[-1]
                if turn % 2:
                    until(lambda: standing(live) != "starting", f"brought back after {where}")
                answer = again(live)
                assert answer.status_code == 200, f"after {where}: {answer.text}"
                assert answer.json()["data"]["status"] == after, where
                assert standing(live) == after, where
                until(lambda: len(processes(marker)) == (after == "running"), f"as told after {where}")
                went.add(replayed(answer))
            make_ready(live, what, marker)
            again = order(what)
            if not walk.die_in(live, step, again):
                assert standing(live) == after
                break
    else:
        pytest.fail(f"it takes more than {MOST_STEPS} steps")
    assert went == {True, False}, "deaths before and after it counted were walked through"
