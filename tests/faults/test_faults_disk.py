"""The disk refuses one step of an operation after the other: a clean error, and nothing lost.

As in `test_faults_crash.py`, but the server lives on, and the next operation must not be hindered.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.faults.walk import ID, MOST_STEPS, STRIDE, Walk, packed, rollback, update
from tests.program import needs_source

if TYPE_CHECKING:
    from pathlib import Path

FAULTS = ("ENOSPC", "EIO")
pytestmark = needs_source


@pytest.mark.parametrize("strategy", ["blue-green", "recreate"])
def test_an_update_meets_a_disk_that_refuses_each_step(tmp_path: Path, marker: str, strategy: str) -> None:
    walk = Walk(tmp_path, marker)
    refused = 0
    with walk.server() as live:
        assert live.deploy(ID, packed(1, marker)).status_code == 201
        current = "1.0.0"
        for step in range(1, MOST_STEPS, STRIDE):
            fault = FAULTS[step % 2]
            answer = walk.fault(live, step, fault, update(step + 1, marker, strategy))
            if answer.status_code == 200:
                current = f"{step + 1}.0.0"
            else:
                refused += 1
                said = answer.json()
                where = f"{fault} at {walk.seen[-1:]}: {said}"
                assert (answer.status_code, said["error_code"]) == (507, "StorageError"), where
                assert said["cure"], where
            assert walk.check(live, tidy=answer.status_code != 200) == current
            if len(walk.seen) < step:
                break
        else:
            pytest.fail(f"an update takes more than {MOST_STEPS} steps")
        assert refused
        assert update(999, marker, strategy)(live).status_code == 200
        assert walk.check(live) == "999.0.0"


def test_a_rollback_meets_a_disk_that_refuses_each_step(tmp_path: Path, marker: str) -> None:
    walk = Walk(tmp_path, marker)
    with walk.server() as live:
        assert live.deploy(ID, packed(1, marker)).status_code == 201
        assert update(2, marker, "blue-green")(live).status_code == 200
        current, other = "2.0.0", "1.0.0"
        for step in range(1, MOST_STEPS, STRIDE):
            answer = walk.fault(live, step, FAULTS[step % 2], rollback())
            if answer.status_code == 200:
                current, other = other, current
            else:
                assert answer.json()["error_code"] == "StorageError", json.dumps(answer.json())
            assert walk.check(live, tidy=answer.status_code != 200) == current
            if len(walk.seen) < step:
                break
        else:
            pytest.fail(f"a rollback takes more than {MOST_STEPS} steps")
        assert rollback()(live).status_code == 200
        assert walk.check(live) == other
