from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from muxi.errors import Conflict, FormationFailed
from muxi.formation.operation import Operation
from muxi.formation.view import DrainView
from tests.api.harness import Api, make_api, view

if TYPE_CHECKING:
    from pathlib import Path

ONE = "/rpc/formations/my-bot"
SSE = {"Accept": "text/event-stream"}


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return make_api(tmp_path, view("my-bot"))


def begun(api: Api, kind: str = "update") -> Operation:
    operation = Operation(kind, "my-bot")  # type: ignore[arg-type]
    api.fleet.operations.append(operation)
    operation.progress("extracting", "Extracting bundle...", progress=40)
    return operation


async def test_an_operation_as_it_stands(api: Api) -> None:
    operation = begun(api)
    api.fleet.views["my-bot"] = view("my-bot", drain=DrainView(3, 2, 1, 9))
    seen = (await api.get(f"{ONE}/operation")).data
    assert seen["id"] == seen["operation_id"] == operation.id
    assert (seen["kind"], seen["state"], seen["stage"], seen["progress"]) == (
        "update",
        "running",
        "extracting",
        40,
    )
    assert (seen["can_cancel"], seen["ended_at"], seen["result"], seen["error"]) == (True, None, None, None)
    assert seen["drain"] == {"in_flight": 3, "streams": 2, "tunnels": 1, "seconds_left": 9}
    operation.decided = True
    assert (await api.get(f"{ONE}/operation")).data["can_cancel"] is False


async def test_an_operation_after_its_end_and_one_before_it(api: Api) -> None:
    first, second = begun(api), begun(api, "rollback")
    first.succeed({"port": 8002})
    second.fail(FormationFailed("It crashed.", details={"log_tail": ["stderr: why"]}, cure="Mend it."))
    seen = (await api.get(f"{ONE}/operation")).data
    assert (seen["kind"], seen["state"], seen["drain"]) == ("rollback", "failed", None)
    assert seen["error"]["error"] == "HealthCheckFailed"
    assert seen["error"]["details"] == {"log_tail": ["stderr: why"]}
    assert seen["error"]["cure"] == "Mend it."
    earlier = (await api.get(f"{ONE}/operation?id={first.id}")).data
    assert (earlier["state"], earlier["result"]) == ("succeeded", {"port": 8002})
    assert (await api.get(f"{ONE}/operation?id=unknown")).status == 404


@pytest.mark.parametrize("path", [f"{ONE}/operation", f"{ONE}/operation/stream"])
async def test_an_operation_is_watched_again_from_its_beginning(api: Api, path: str) -> None:
    operation = begun(api)
    async with api.events("GET", path, **SSE) as exchange:
        assert (await exchange.event())[1]["progress"] == 40
        operation.progress("spawning_staging", "Starting…", staging_port=8002)
        assert (await exchange.event())[1]["staging_port"] == 8002
        operation.succeed({"port": 8002})
        assert (await exchange.event())[0] == "complete"
        await exchange.ended.wait()


@pytest.mark.parametrize("path", [f"{ONE}/cancel", f"{ONE}/cancel-update"])
async def test_a_cancel_is_answered_when_all_is_undone(api: Api, path: str) -> None:
    operation = begun(api)
    operation.progress("spawning_staging", "Starting…", staging_port=8002)

    async def undo() -> None:
        await trio.testing.wait_all_tasks_blocked()
        operation.fail(Conflict("The update was cancelled.", code="Cancelled"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(undo)
        answer = await api.post(path)
    assert answer.status == 200
    fields = answer.json if path.endswith("update") else answer.data
    assert (fields["formation_id"], fields["staging_port"]) == ("my-bot", 8002)
    assert (fields["status"], fields["current_port"]) == ("running", 8001)
    assert fields["message"] == "Update cancelled successfully"
    assert answer.json["success"] is True  # the Go SDK asks for it


async def test_a_cancelled_deploy_is_gone(api: Api) -> None:
    operation = begun(api, "deploy")
    del api.fleet.views["my-bot"]
    operation.at_end.append(lambda _operation: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.testing.wait_all_tasks_blocked)
        nursery.start_soon(fail_soon, operation, "Cancelled")
        answer = await api.post(f"{ONE}/cancel")
    assert (answer.data["status"], answer.data["current_port"]) == ("removed", 0)


async def fail_soon(operation: Operation, code: str) -> None:
    await trio.testing.wait_all_tasks_blocked()
    operation.fail(Conflict("It did not come up.", code=code))


async def test_nothing_to_cancel(api: Api) -> None:
    answer = await api.post(f"{ONE}/cancel-update")
    assert (answer.status, answer.json["message"]) == (400, "No update in progress for this formation")


async def test_a_cancel_that_comes_too_late_says_so(api: Api) -> None:
    operation = begun(api)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail_soon, operation, "HealthCheckFailed")
        answer = await api.post(f"{ONE}/cancel")
    assert (answer.status, answer.json["error_code"]) == (409, "OperationEnded")
    assert "did not come up" in answer.json["message"]
    operation = begun(api)

    async def succeed() -> None:
        await trio.testing.wait_all_tasks_blocked()
        operation.succeed({})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(succeed)
        answer = await api.post(f"{ONE}/cancel")
    assert (answer.status, answer.json["error_code"]) == (409, "TooLateToCancel")
