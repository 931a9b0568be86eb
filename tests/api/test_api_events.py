from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog
import trio

from muxi.api.events import EventStream, ServerEvent
from muxi.errors import FormationFailed
from tests.api.harness import BUNDLE, GZIP, Api, make_api, make_scope, parse_events, view

if TYPE_CHECKING:
    from pathlib import Path

    from muxi.api.events import Emit

SSE = {"Accept": "text/event-stream"}
RESULT = {"formation_id": "a-bot", "port": 8001, "status": "running", "stage": "never shown"}


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return make_api(tmp_path, view("my-bot"), view("a-bot", "stopped"))


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/rpc/formations/a-bot/start", SSE),
        ("/rpc/formations/a-bot/start", {"Accept": "application/json, Text/Event-Stream;q=0.9"}),
        ("/rpc/formations/a-bot/start/stream", {}),
        ("/rpc/formations/a-bot/restart", SSE),
        ("/rpc/formations/a-bot/restart/stream", {}),
    ],
)
async def test_an_operation_is_streamed(api: Api, path: str, headers: dict[str, str]) -> None:
    api.fleet.results |= {"start": RESULT, "restart": RESULT}
    answer = await api.post(path, **headers)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["connection"] == "keep-alive"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.events == [
        ("progress", {"stage": "spawning", "message": "Starting…", "attempt": 1, "type": "progress"}),
        ("complete", {"formation_id": "a-bot", "port": 8001, "status": "running", "type": "complete"}),
    ]


async def test_deploy_is_streamed(api: Api) -> None:
    api.fleet.results["deploy"] = {"port": 8002}
    answer = await api.post("/rpc/formations", BUNDLE, **GZIP, **SSE, **{"X-Formation-ID": "new-bot"})
    assert answer.status == 200
    assert answer.events[-1] == ("complete", {"formation_id": "new-bot", "port": 8002, "type": "complete"})


async def test_events_arrive_as_they_happen(api: Api) -> None:
    async with api.events("POST", "/rpc/formations/a-bot/start") as exchange:
        await exchange.started.wait()
        operation = api.fleet.operations[0]
        for attempt in range(3):
            operation.progress("health_check", "Waiting…", attempt=attempt)
            assert (await exchange.event())[1]["attempt"] == attempt
        operation.succeed(RESULT)
        assert (await exchange.event())[0] == "complete"
        await exchange.ended.wait()


async def test_an_error_after_the_first_event_is_an_event(api: Api) -> None:
    api.fleet.results["start"] = FormationFailed(
        "Formation crashed during startup: exit status 3", cure="read"
    )
    name, data = (await api.post("/rpc/formations/a-bot/start", **SSE)).events[-1]
    assert name == "error"
    assert data == {
        "error": "HealthCheckFailed",
        "message": "Formation crashed during startup: exit status 3",
        "stage": "validating",
        "cure": "read",
        "type": "error",
    }
    (entry,) = await api.audited()
    assert entry["status"] == 400  # what became of it, though the stream had said 200 by then
    assert entry["outcome"] == "error: HealthCheckFailed"
    assert entry["operation_id"] == api.fleet.operations[0].id


async def test_a_client_that_leaves_stops_watching_and_nothing_else(api: Api) -> None:
    async with api.events("POST", "/rpc/formations/a-bot/start") as exchange:
        await exchange.started.wait()
        await exchange.leave()
    operation = api.fleet.operations[0]
    assert not operation.ended
    operation.succeed(RESULT)
    assert await operation.wait() == RESULT
    (entry,) = await api.audited()
    assert (entry["status"], entry["outcome"]) == (200, "client left")


async def test_a_client_that_leaves_a_plain_call_does_not_end_it_either(api: Api) -> None:
    path = "/rpc/formations/a-bot/start"
    async with api.exchange(
        make_scope("POST", path, {"Authorization": api.signature("POST", path)})
    ) as exchange:
        await exchange.send(b"", last=True)
        await trio.testing.wait_all_tasks_blocked()
        await exchange.leave()
    assert not api.fleet.operations[0].ended
    assert (await api.audited())[0]["status"] == 499


async def test_a_silent_stream_is_kept_alive(api: Api, autojump_clock: trio.testing.MockClock) -> None:
    async with api.events("POST", "/rpc/formations/a-bot/start") as exchange:
        begun = trio.current_time()
        for beat in range(1, 5):
            assert await exchange.chunk() == ": keep-alive\n\n"
            assert trio.current_time() - begun == 15.0 * beat
        api.fleet.operations[0].progress("spawning", "Starting…")
        assert (await exchange.event())[0] == "progress"
        await trio.sleep(3 * 3600)  # nothing limits how long a stream lives
        api.fleet.operations[0].succeed(RESULT)
        assert (await exchange.event())[0] == "complete"
        await exchange.ended.wait()


@pytest.mark.parametrize(
    ("path", "signed", "status", "code"),
    [
        ("/rpc/formations/nobody/start/stream", True, 404, "NotFound"),
        ("/rpc/formations/my-bot/start/stream", True, 409, "Conflict"),
        ("/rpc/formations/my-bot/deploy/stream", True, 409, "FormationExists"),
        ("/rpc/formations/my-bot/update/stream", True, 422, "InvalidPayload"),
        ("/rpc/formations/a-bot/start/stream", False, 401, "Unauthorized"),
    ],
)
async def test_the_python_sdk_gets_early_errors_as_events(
    api: Api, path: str, signed: bool, status: int, code: str
) -> None:
    python = {"X-Muxi-SDK": "python/1.20260713.0", "Content-Type": "application/json"}
    answer = await api.call("POST", path, headers=python, data=b"{}", signed=signed)
    assert answer.status == 200
    ((name, data),) = answer.events
    assert (name, data["type"], data["error"], data["code"]) == ("error", "error", code, status)
    assert data["message"]
    assert (await api.audited())[0]["status"] == status
    others = await api.call(
        "POST", path, headers=python | {"X-Muxi-SDK": "typescript/1"}, data=b"{}", signed=signed
    )
    assert others.status == status
    assert others.json["code"] == status


async def test_the_python_sdk_gets_plain_errors_in_plain_calls(api: Api) -> None:
    answer = await api.post("/rpc/formations/nobody/start", **{"X-Muxi-SDK": "python/1.0"})
    assert answer.status == 404


def test_an_event_is_one_data_line_and_a_progress_is_whole() -> None:
    event = ServerEvent("progress", {"stage": "extracting", "message": "a\nb\r\n\u2028c", "progress": 12.7})
    ((name, data),) = parse_events(event.encode().decode())
    assert (name, data["progress"], data["message"]) == ("progress", 12, "a\nb\r\n\u2028c")
    assert event.encode().count(b"\n") == 3


async def test_a_producer_that_fails_tells_the_client_and_the_log() -> None:
    async def produce(emit: Emit) -> None:
        await emit(ServerEvent("connected", {}))
        raise OSError("disk gone")

    with structlog.testing.capture_logs() as logs:
        async with EventStream(produce, 15.0) as stream:
            chunks = [chunk async for chunk in stream]
    names = [parse_events(chunk.decode())[0][0] for chunk in chunks]
    assert names == ["connected", "error"]
    assert b"disk gone" not in chunks[1]
    assert [entry["event"] for entry in logs] == ["event stream failed"]


async def test_a_stream_left_early_ends_its_producer() -> None:
    ended = trio.Event()

    async def produce(emit: Emit) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with EventStream(produce, 15.0):
        await trio.testing.wait_all_tasks_blocked()
    assert ended.is_set()
