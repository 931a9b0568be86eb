from __future__ import annotations

import pytest
import trio
import trio.testing

from muxi.errors import Conflict, InternalError
from muxi.formation.operation import Event, Operation


async def collect(operation: Operation, into: list[Event]) -> None:
    into.extend([event async for event in operation.watch()])


async def test_every_watcher_sees_all_events_whenever_it_comes() -> None:
    operation = Operation("deploy", "my-bot")
    early: list[Event] = []
    late: list[Event] = []
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect, operation, early)
            await trio.testing.wait_all_tasks_blocked()
            operation.progress("extracting", "Extracting…")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(collect, operation, late)
            operation.progress("health_check", "Waiting…", attempt=1, max_attempts=30)
            operation.succeed({"status": "running"})
    assert [event.name for event in early] == ["progress", "progress", "complete"]
    assert early == late
    assert early[1].data == {"stage": "health_check", "message": "Waiting…", "attempt": 1, "max_attempts": 30}
    assert operation.stage == "health_check"


async def test_waiting_gives_the_result() -> None:
    operation = Operation("start", "my-bot")
    operation.succeed({"status": "running"})
    assert operation.ended
    assert await operation.wait() == {"status": "running"}


async def test_an_error_names_the_stage_it_happened_in() -> None:
    operation = Operation("deploy", "my-bot")
    operation.progress("spawning", "Starting…")
    operation.fail(Conflict("It is there.", code="FormationExists", cure="Delete it."))
    with pytest.raises(Conflict):
        await operation.wait()
    assert operation.events[-1] == Event(
        "error",
        {"error": "FormationExists", "message": "It is there.", "stage": "spawning", "cure": "Delete it."},
    )


async def test_a_defect_of_ours_is_not_explained_to_the_outside() -> None:
    operation = Operation("deploy", "my-bot")
    operation.fail(ZeroDivisionError("secret detail"))
    with pytest.raises(InternalError) as caught:
        await operation.wait()
    assert "secret detail" not in caught.value.message
    assert "secret detail" not in str(operation.events)
