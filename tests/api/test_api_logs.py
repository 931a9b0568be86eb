from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

from muxi.errors import NotFound
from muxi.process.log_rotation import LogLimits, rotate_all
from tests.api.harness import Api, make_api, view

LOGS = "/rpc/formations/my-bot/logs"


@pytest.fixture
def api(tmp_path: Path) -> Api:
    (tmp_path / "my-bot-out.log").write_text("".join(f"out {n}\n" for n in range(150)))
    (tmp_path / "my-bot-err.log").write_text("err 0\nerr 1\n")
    return make_api(tmp_path, view("my-bot"), view("silent-bot"))


@pytest.mark.parametrize("query", ["?lines=2", "?limit=2", "?lines=2&stream=all", "?limit=2&stream="])
async def test_the_last_lines_of_both(api: Api, query: str) -> None:
    assert (await api.get(LOGS + query)).data == {
        "formation_id": "my-bot",
        "logs": {"stdout": ["out 148", "out 149"], "stderr": ["err 0", "err 1"]},
        "total_lines": {"stdout": 2, "stderr": 2},
    }


async def test_a_hundred_lines_unless_told(api: Api) -> None:
    logs = (await api.get(LOGS)).data["logs"]
    assert len(logs["stdout"]) == 100


async def test_one_stream_alone(api: Api) -> None:
    assert (await api.get(f"{LOGS}?stream=stderr")).data["logs"] == {"stderr": ["err 0", "err 1"]}


async def test_no_output_yet(api: Api) -> None:
    assert (await api.get("/rpc/formations/silent-bot/logs")).data["logs"] == {"stdout": [], "stderr": []}


@pytest.mark.parametrize("path", ["logs", "logs/stream", "logs?follow=true"])
async def test_an_unknown_formation_is_404_also_for_followers(api: Api, path: str) -> None:
    answer = await api.get(f"/rpc/formations/nobody/{path}", Accept="text/event-stream")
    assert answer.status == 404


@pytest.mark.parametrize(
    ("query", "accept"),
    [
        ("?follow=true", "*/*"),
        ("?stream=all&follow=1", "text/event-stream"),
        ("", "text/event-stream"),
        ("/stream", "*/*"),
    ],
)
async def test_following_gives_what_either_stream_writes_once_the_head_is_out(
    api: Api, tmp_path: Path, query: str, accept: str
) -> None:
    with trio.fail_after(30):
        async with api.events("GET", LOGS + query, Accept=accept) as exchange:
            await exchange.started.wait()
            _append(tmp_path / "my-bot-out.log", "to out")
            _append(tmp_path / "my-bot-err.log", "to err")
            assert await exchange.event() == ("connected", {"formation_id": "my-bot", "type": "connected"})
            events = [await exchange.event() for _ in range(2)]
            await exchange.leave()
    assert [name for name, _ in events] == ["log", "log"]
    assert {(data["stream"], data["line"]) for _, data in events} == {
        ("stdout", "to out"),
        ("stderr", "to err"),
    }
    for _, data in events:
        assert data["formation_id"] == "my-bot"
        assert data["time"].endswith("Z")


def _append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(f"{line}\n")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_followed_files_are_closed_when_the_client_leaves(api: Api) -> None:
    with trio.fail_after(30):
        async with api.events("GET", f"{LOGS}?follow=true") as exchange:
            assert (await exchange.event())[0] == "connected"
            assert _open_logs() == 2
            await exchange.leave()
    assert _open_logs() == 0


def _open_logs() -> int:
    entries = list(Path("/proc/self/fd").iterdir())
    return sum("my-bot-" in str(entry.readlink()) for entry in entries if entry.is_symlink())


async def test_following_begins_with_as_many_lines_as_asked_for(api: Api) -> None:
    with trio.fail_after(30):
        async with api.events("GET", f"{LOGS}?follow=true&lines=2&stream=stdout") as exchange:
            assert (await exchange.event())[0] == "connected"
            seen = [(await exchange.event())[1] for _ in range(2)]
            assert [(data["stream"], data["line"]) for data in seen] == [
                ("stdout", "out 148"),
                ("stdout", "out 149"),
            ]
            await exchange.leave()
    (entry,) = await api.audited()
    assert entry["route"] == "/rpc/formations/{formation_id}/logs"
    assert entry["status"] == 200


async def test_a_silent_follow_is_kept_alive(tmp_path: Path) -> None:
    api = make_api(tmp_path, view("silent-bot"), keepalive_interval=0.01)
    with trio.fail_after(30):
        async with api.events("GET", "/rpc/formations/silent-bot/logs/stream") as exchange:
            assert (await exchange.chunk()).startswith("event: connected\n")
            assert await exchange.chunk() == ": keep-alive\n\n"


async def test_head_of_a_log_ends(api: Api) -> None:
    with trio.fail_after(30):
        answer = await api.call("HEAD", f"{LOGS}?follow=true", headers={"Accept": "text/event-stream"})
    assert answer.status == 200


async def test_following_ends_when_the_formation_is_deleted_after_its_last_words(
    api: Api, tmp_path: Path
) -> None:
    with trio.fail_after(30):
        async with api.events("GET", f"{LOGS}?follow=true&stream=stdout") as exchange:
            assert (await exchange.event())[0] == "connected"
            _append(tmp_path / "my-bot-out.log", "last words")
            (tmp_path / "my-bot-out.log").unlink()
            api.fleet.deleted.set()
            name, data = await exchange.event()
            assert (name, data["line"]) == ("log", "last words")
            assert await exchange.event() == (
                "end",
                {
                    "formation_id": "my-bot",
                    "reason": "deleted",
                    "message": "The formation was deleted.",
                    "type": "end",
                },
            )
            await exchange.ended.wait()


@pytest.mark.parametrize("query", ["draft=true", "draft=1&stream=all"])
async def test_the_output_of_a_directory_that_runs_is_its_own(api: Api, tmp_path: Path, query: str) -> None:
    _append(tmp_path / "my-bot.dev-out.log", "of the run")
    data = (await api.get(f"{LOGS}?{query}")).data
    assert data["logs"] == {"stdout": ["of the run"], "stderr": []}
    assert (await api.get(f"{LOGS}?draft=false&lines=1")).data["logs"]["stdout"] == ["out 149"]
    api.dev.refusal = NotFound("No draft of formation 'my-bot' is running.", code="DraftNotRunning")
    answer = await api.get(f"{LOGS}?{query}")
    assert (answer.status, answer.json["error_code"]) == (404, "DraftNotRunning")


async def test_following_a_run_ends_with_it(api: Api, tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with api.events("GET", f"{LOGS}?follow=true&stream=stdout&draft=true") as exchange:
            assert (await exchange.event())[0] == "connected"
            _append(tmp_path / "my-bot.dev-out.log", "last words")
            assert (await exchange.event())[1]["line"] == "last words"
            api.dev.ended.set()
            name, data = await exchange.event()
            assert (name, data["reason"], data["message"]) == ("end", "ended", "The run has ended.")
            await exchange.ended.wait()


async def test_rotated_lines_are_among_the_last_and_rotation_disturbs_no_follower(
    api: Api, tmp_path: Path
) -> None:
    log = tmp_path / "my-bot-out.log"
    limits = LogLimits(max_size=1024, max_files=1000)
    with trio.fail_after(30):
        async with api.events("GET", f"{LOGS}?follow=true&stream=stdout") as exchange:
            assert (await exchange.event())[0] == "connected"
            for number in range(150, 600):
                _append(log, f"out {number}")
                if number % 50 == 0:
                    await trio.to_thread.run_sync(rotate_all, [log], limits)
            for number in range(150, 600):
                assert (await exchange.event())[1]["line"] == f"out {number}"
            await exchange.leave()
    logs = (await api.get(f"{LOGS}?lines=600&stream=stdout")).data["logs"]
    assert logs == {"stdout": [f"out {number}" for number in range(600)]}
